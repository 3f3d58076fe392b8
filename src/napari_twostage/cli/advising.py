"""Verb ``advise``: what full resolution would change on a slide, and what to run."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_twostage.cli.commands import picture_of
from napari_twostage.cli.failures import DONE
from napari_twostage.engine.advisor import advise
from napari_twostage.models import load_model
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from argparse import Namespace

    from napari_twostage.cli.commands import VerbOutput
    from napari_twostage.engine.advisor import Advice

PICTURE = ("mpp", "scene", "channel", "z", "t", "intensity")
"""Options that say how a slide is read."""


def advise_on(options: Namespace) -> VerbOutput:
    """Compare both stages on a few places of a slide."""
    model = load_model(options.model, device=options.device, precision=options.precision)
    given = {
        name: value
        for name in ("windows", "tolerance", "tissue")
        if (value := getattr(options, name)) is not None
    }
    with (
        open_slide(options.slide, mpp=options.mpp, **picture_of(options).as_dict()) as slide,
        tqdm(desc="compared", unit="place", disable=options.quiet, file=sys.stderr) as bar,
    ):

        def tell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        advice = advise(slide, model, tell=tell, **given)
    summary: dict[str, Any] = {"slide": str(options.slide), "model": model.card.name}
    text = [
        f"{'looked at':10} {advice.windows} places, {advice.tiles} tiles",
        f"{'changes':10} {advice.describe_changes()}",
        f"{'advice':10} {advice.describe()}",
        f"{'run':10} {_command(options, advice)}",
    ]
    return {**summary, **advice.as_dict()}, text, DONE


def _command(options: Namespace, advice: Advice) -> str:
    """Command that does as advised."""
    chosen = {
        "coarse": ["--refine", "none"],
        "two stages": ["--threshold", f"{advice.threshold}"],
        "everything": ["--refine", "all"],
    }
    words = ["napari-twostage", "segment", str(options.slide), "--model", options.model]
    for name in PICTURE:
        value = getattr(options, name)
        if value is not None:
            parts = dict.fromkeys(value) if name == "mpp" else value  # 0.5 is 0.5,0.5
            text = ",".join(map(str, parts)) if isinstance(value, tuple) else str(value)
            words += [f"--{name}", text]
    return shlex.join([*words, *chosen[advice.choice], "--out", "result.zarr"])
