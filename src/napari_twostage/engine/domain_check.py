"""Domain check of a run: a few windows through stage 1, before the coarse pass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari_twostage.geometry import Box
from napari_twostage.method.domain import check_domain
from napari_twostage.method.sample_windows import features_of, look_at, pick_windows
from napari_twostage.method.steps import DomainChecked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.method.pipeline import Gate
    from napari_twostage.models.model import Model
    from napari_twostage.result.result import Result

log = logging.getLogger(__name__)


def compare_with_training(result: Result, model: Model, gate: Gate) -> Iterator[DomainChecked]:
    """Compare the slide with the model's training images, and keep the outcome.

    Nothing is done if the card has no training images to compare with, or it was done before.

    Parameters
    ----------
    result : Result
        Its tissue is known.
    model : Model
        The model it was made with.
    gate : callable
        See `pipeline.Work`.
    """
    card = result.card
    if card.domain is None or result.record.domain is not None or result.coarse_complete:
        return
    side = card.coarse_core_px
    # of the whole slide: the outcome must not depend on the part that is segmented first
    windows = pick_windows(result.slide_tissue, side // card.coarse_tile_px)
    cores = [Box.at(row * side, column * side, side, side) for row, column in windows]
    gate()
    view = result.view(result.coarse_grid)
    features, bright = features_of(look_at(model, view, cores), view.grid.mpp)
    if not len(bright):
        return  # nothing could be read: the coarse pass says so
    name = card.classes[0].name if len(card.classes) == 1 else "object"
    check = check_domain(card.domain, features, bright, name)
    log.log(logging.WARNING if check.unlike else logging.INFO, "%s %s", result.name, check.text)
    result.writer.save_domain(check)
    yield DomainChecked(check)
