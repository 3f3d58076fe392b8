"""Verb ``advise``: what full resolution would change on a slide, and what to run."""

from __future__ import annotations

import shlex
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_twostage.cli.commands import picture_of
from napari_twostage.cli.failures import DONE
from napari_twostage.cli.interrupts import saving
from napari_twostage.engine.advisor import advise
from napari_twostage.models import load_model
from napari_twostage.result.folder_names import SUFFIX
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    from argparse import Namespace

    from napari_twostage.cli.commands import VerbOutput
    from napari_twostage.engine.slide_advice import Advice

CARRIED = ("model", "device", "precision", "mpp", "scene", "channel", "z", "t", "intensity")
"""Options that a run shares with the advice on it."""
NOT_COMPARED = "the model cannot tell whether the slide looks like its training images: judge it"


def advise_on(options: Namespace) -> VerbOutput:
    """Compare both stages on a few places of a slide."""
    model = load_model(options.model, device=options.device, precision=options.precision)
    given = {
        name: value
        for name in ("windows", "tolerance", "tissue")
        if (value := getattr(options, name)) is not None
    }
    bar: tqdm[None] | None = None

    def tell(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(
                desc="compared", unit="place", total=total, disable=options.quiet, file=sys.stderr
            )
        bar.update(done - bar.n)

    with (
        open_slide(options.slide, mpp=options.mpp, **picture_of(options).as_dict()) as slide,
        saving(),
    ):
        advice = advise(slide, model, tell=tell, **given)
    if bar is not None:
        bar.close()
    summary: dict[str, Any] = {"slide": str(options.slide), "model": model.card.name}
    text = [
        f"{'looked at':10} {advice.describe_places()}",
        f"{'changes':10} {advice.describe_changes()}",
        f"{'advice':10} {advice.describe()}",
        f"{'run':10} {_command(options, advice)}",
    ]
    if model.card.domain is None:
        text.insert(1, f"{'note':10} {NOT_COMPARED}")
    return {**summary, **advice.as_dict()}, text, DONE


def _command(options: Namespace, advice: Advice) -> str:
    """Command that does as advised."""
    chosen = {
        "coarse": ["--refine", "none"],
        "two stages": ["--threshold", f"{advice.threshold}"],
        "everything": ["--refine", "all"],
    }
    slide = str(options.slide)
    words = ["napari-twostage", "segment", f"./{slide}" if slide.startswith("-") else slide]
    for name in CARRIED:
        value = getattr(options, name)
        if value not in (None, "auto"):
            parts = dict.fromkeys(value) if name == "mpp" else value  # 0.5 is 0.5,0.5
            text = ",".join(f"{part:g}" for part in parts) if isinstance(value, tuple) else value
            words += [f"--{name}", str(text)]
    if options.tissue is not None:
        words.append("--tissue" if options.tissue else "--no-tissue")
    out = f"{PurePath(slide).stem.lstrip('-')}{SUFFIX}"
    return shlex.join([*words, *chosen[advice.choice], "--out", out])
