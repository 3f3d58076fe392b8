"""Verb ``import``: a network that others trained becomes a model for slides."""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_twostage.cli.arguments import box, place
from napari_twostage.cli.failures import DONE
from napari_twostage.errors import ModelError
from napari_twostage.models.importing.facts import (
    NORMALISATIONS,
    QUESTIONS,
    Facts,
    MissingFactsError,
    Normalisation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    import numpy as np
    from numpy.typing import NDArray

    from napari_twostage.cli.commands import VerbOutput
    from napari_twostage.engine.stage_agreement import StageAgreement
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.importing.importing import Imported
    from napari_twostage.models.model import Model

MEANINGS = ("logits", "sigmoid", "softmax")
LAYOUTS = ("NCHW", "NHWC")
RATIOS = (1, 2, 4, 8, 16)
TISSUE = (1300, 650)
"""Row and column of the sample slide where its largest piece of tissue begins."""
TRIED_PX = 1536
"""Side of the picture that a network is tried on: windows have up to 1024 pixels, and shift."""
NOT_CALIBRATED = "not calibrated; look at what it selects, or add --calibrate"
STAGES_AGREE = 0.65
"""Dice of the stages below which a warning is due: the bundled model reaches 0.69 on the sample."""
PLACE_MATTERS = 0.01
"""Share of labels that depend on where windows lie above which a larger halo is advised."""


def add_import_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``import``."""
    verb.add_argument(
        "network",
        type=Path,
        metavar="MODEL",
        help="*.onnx, or a folder or zip of the BioImage Model Zoo with ONNX weights",
    )
    verb.add_argument("--out", type=Path, required=True, help="folder for the model")
    _add_facts(verb.add_argument_group("what the file does not say (a terminal is asked)"))
    windows = verb.add_argument_group("windows")
    windows.add_argument(
        "--ratio",
        type=int,
        choices=RATIOS,
        help="times that stage 1 reads coarser (default: 2, or 4 for pixels up to 0.33 µm)",
    )
    windows.add_argument("--tile", type=_count, metavar="PX", help="side of a tile (default 256)")
    windows.add_argument(
        "--halo",
        type=_count,
        metavar="PX",
        help="context around a tile (default: the package's, 64, or an eighth of a fixed window)",
    )
    verb.add_argument("--device", default="auto", help="auto, openvino or onnxruntime")
    verb.add_argument(
        "--calibrate",
        type=place,
        metavar="SLIDE",
        help="choose the threshold on a region of this slide, by how far the stages differ",
    )
    verb.add_argument(
        "--region", type=box, metavar="Y,X,H,W", help="that region, in level-0 pixels"
    )


def _add_facts(facts: argparse._ArgumentGroup) -> None:
    facts.add_argument("--mpp", type=_mpp, metavar="UM", help="µm per pixel it was trained at")
    facts.add_argument(
        "--classes",
        type=_names,
        metavar="NAME,...",
        help="a name for each output channel, 'background' for the one that is no class",
    )
    facts.add_argument(
        "--pixels",
        choices=list(NORMALISATIONS),
        help="numbers that it takes for pixels; signed: from -1 to 1; window: of mean 0 and "
        "deviation 1 in each window",
    )
    facts.add_argument(
        "--mean",
        type=_rgb,
        metavar="R,G,B",
        help="with --std, in place of --pixels: mean of pixel values divided by 255",
    )
    facts.add_argument("--std", type=_rgb, metavar="R,G,B", help="and their standard deviation")
    facts.add_argument("--output", choices=MEANINGS, help="what its last layer gives")
    facts.add_argument("--output-name", metavar="NAME", help="output that holds the classes")
    facts.add_argument("--layout", choices=LAYOUTS, help="axes of its input")
    facts.add_argument("--bgr", action="store_true", default=None, help="it takes blue first")
    facts.add_argument("--name", help="name of the model (default: the package's, or the file's)")
    facts.add_argument("--licence", help="licence of the network")
    facts.add_argument("--trained-on", metavar="TEXT", help="data that it was trained on")


def import_network(options: argparse.Namespace) -> VerbOutput:
    """Make a model folder of a network; ask for what is missing if somebody is there to answer."""
    from napari_twostage.models.importing.importing import import_model

    if (options.calibrate is None) != (options.region is None):
        raise ModelError("--calibrate SLIDE and --region Y,X,H,W go together; add the other")
    if options.out.exists() and not (options.out.is_dir() and not any(options.out.iterdir())):
        raise ModelError(f"{options.out} is there already; choose another folder for --out")
    facts, picture = _facts(options), _picture()
    while True:
        try:
            imported = import_model(options.network, facts, picture, device=options.device)
            break
        except MissingFactsError as error:
            if sys.stdin is None or not sys.stdin.isatty():
                raise
            sys.stderr.write(f"{error.source} does not say all that is needed.\n")
            facts = _ask(facts, error.missing)
    bundle, chosen = imported.model.bundle, NOT_CALIBRATED
    if options.calibrate is not None:
        agreement = _agreement(imported.model, options)
        bundle, chosen = _calibrated(bundle, agreement, options.calibrate.name)
    bundle.save(options.out)
    return _summary(options.out, bundle, imported, chosen)


def _agreement(model: Model, options: argparse.Namespace) -> StageAgreement:
    from napari_twostage.engine.stage_agreement import stage_agreement
    from napari_twostage.slides import open_slide

    with open_slide(options.calibrate) as slide:
        return stage_agreement(model, slide, options.region, progress=not options.quiet)


def _calibrated(bundle: Bundle, agreement: StageAgreement, slide: str) -> tuple[Bundle, str]:
    """Bundle with the threshold of a measurement, and that in words."""
    words = (
        f"{agreement.found:.0%} of what stage 2 changes lies in the {agreement.fraction:.0%} of "
        f"{agreement.n_tiles} tiles above it; the stages agree with Dice {agreement.dice:.2f} "
        f"({slide})"
    )
    if not agreement.dice >= STAGES_AGREE:
        words += (
            f"; below {STAGES_AGREE} stage 1 is a poor guide: take a smaller --ratio, or segment "
            "with --refine all"
        )
    metrics = {**bundle.card.metrics, "threshold": words}
    card = replace(bundle.card, default_threshold=agreement.threshold, metrics=metrics)
    return replace(bundle, card=card), words


def _facts(options: argparse.Namespace) -> Facts:
    """Facts that the words of the command line state."""
    normalisation = NORMALISATIONS.get(options.pixels)
    if (options.mean is None) != (options.std is None) or (normalisation and options.mean):
        raise ModelError("expected --pixels, or both --mean and --std, found something between")
    if options.mean is not None:
        normalisation = Normalisation(mean=options.mean, std=options.std)
    return Facts(
        name=options.name,
        licence=options.licence,
        trained_on=options.trained_on,
        mpp=options.mpp,
        classes=options.classes,
        normalisation=normalisation,
        meaning=options.output,
        layout=options.layout,
        output=options.output_name,
        bgr=options.bgr,
        ratio=options.ratio,
        tile_px=options.tile,
        halo_px=options.halo,
    )


def _ask(facts: Facts, missing: tuple[str, ...]) -> Facts:
    """Ask on the terminal, each question until the answer can be one."""
    readers: dict[str, Callable[[str], Any]] = {
        "mpp": _mpp,
        "classes": _names,
        "normalisation": lambda word: NORMALISATIONS[_one_of(word, NORMALISATIONS)],
        "meaning": lambda word: _one_of(word, MEANINGS),
        "layout": lambda word: _one_of(word, LAYOUTS),
        "output": str,
    }
    for name in missing:
        while True:
            sys.stderr.write(f"{QUESTIONS[name]}\n> ")
            sys.stderr.flush()
            answer = sys.stdin.readline()
            if not answer:
                raise ModelError("the import was given up: no answer")
            try:
                facts = replace(facts, **{name: readers[name](answer.strip())})
                break
            except argparse.ArgumentTypeError as error:
                sys.stderr.write(f"{error}\n")
    return facts


def _picture() -> NDArray[np.uint8]:
    """Tissue of the sample slide."""
    import numpy as np

    from napari_twostage.geometry import Box
    from napari_twostage.samples import sample_slide
    from napari_twostage.slides import open_slide

    with open_slide(sample_slide()) as slide:
        return np.asarray(slide.read(Box.at(*TISSUE, TRIED_PX, TRIED_PX)), np.uint8)


def _summary(folder: Path, bundle: Bundle, imported: Imported, chosen: str) -> VerbOutput:
    card, stated, share = bundle.card, bundle.card.architecture, imported.changed_by_place
    advice = "; a larger --halo may lower this" if share > PLACE_MATTERS else ""
    text = [
        f"model      {folder}: {card.name} {card.version}, {imported.model.compute}",
        f"classes    {', '.join(entry.name for entry in card.classes)}, from {stated['meaning']}",
        f"stages     {card.fine_mpp:g} µm per pixel, and {card.fine_mpp * card.ratio:g} µm for the "
        "coarse pass, by the same network",
        f"windows    {card.window_px} px: tiles of {card.tile_px} px, {card.halo_px} px halo",
        f"seams      {share:.2%} of the labels change when the windows are shifted{advice}",
        f"threshold  {card.default_threshold}: {chosen}",
    ]
    summary = {
        "out": str(folder),
        "sha256": bundle.sha256,
        "window_px": card.window_px,
        "changed_by_place": share,
        "threshold": card.default_threshold,
        "metrics": card.metrics,
        "architecture": stated,
    }
    return summary, text, DONE


def _mpp(text: str) -> float:
    number = _float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError(
            f"expected micrometres per pixel above 0, such as 0.5; found '{text}'"
        )
    return number


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(
            f"expected names between commas, such as background,nucleus; found '{text}'"
        )
    return names


def _rgb(text: str) -> tuple[float, float, float]:
    numbers = [_float(part) for part in text.split(",")]
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(
            f"expected one number, or three for red, green and blue, such as 0.5,0.5,0.5; found "
            f"'{text}'"
        )
    red, green, blue = numbers * (3 // len(numbers))
    return red, green, blue


def _count(text: str) -> int:
    if not (text.isdecimal() and len(text) < 6):
        raise argparse.ArgumentTypeError(f"expected a number of pixels; found '{text[:60]}'")
    return int(text)


def _one_of(word: str, words: Collection[str]) -> str:
    if word not in words:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(words)}; found '{word}'")
    return word


def _float(text: str) -> float:
    """Number of a text; NaN if it is none, or not finite."""
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
