"""The verbs of the command line; each returns a summary, its text and an exit code."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from napari_twostage.cli.checking import check_result
from napari_twostage.cli.failures import DONE, FAILED
from napari_twostage.cli.interrupts import saving
from napari_twostage.cli.regions import (
    annotations_of,
    keep_measured,
    require_segmented,
    rings_of,
)
from napari_twostage.cli.slide_info import describe_slide
from napari_twostage.engine.api import prepare, run_to_end, working_grid
from napari_twostage.engine.batch import TABLE, aligned, segment_all
from napari_twostage.engine.checks import require_inside
from napari_twostage.engine.options import RunOptions
from napari_twostage.engine.progress import watch
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.errors import (
    SelectionError,
    SlideError,
    TwoStageError,
)
from napari_twostage.export import check_targets, export, left_out_of
from napari_twostage.geometry import Box
from napari_twostage.io.paths import is_folder
from napari_twostage.measure.completeness import completeness
from napari_twostage.measure.summary import summarise, summary_lines
from napari_twostage.method.selection import Selection
from napari_twostage.models import load_model
from napari_twostage.models.backends.choice import describe_choice, thread_count
from napari_twostage.models.bundle import bundled_names, read_bundle
from napari_twostage.result.result_files import is_result
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide
from napari_twostage.slides.picture import Picture
from napari_twostage.utils.system import describe_machine

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from napari_twostage.distributed import Cluster
    from napari_twostage.models.bundle import Bundle
    from napari_twostage.models.card import ModelCard

VerbOutput = tuple[dict[str, Any], list[str], int]
"""A JSON-able summary, the same as lines of text, and the exit code."""


def demo(options: Namespace) -> VerbOutput:
    """Segment the sample slide and draw an overview."""
    out = options.out or Path("demo")
    options.slide, options.out = sample_slide(), out / "CMU-1-Small-Region.twostage.zarr"
    options.region = options.mpp = options.scheduler = options.workers = None
    options.scene = options.channel = options.z = options.t = options.intensity = None
    summary, text, code = segment(options)
    picture = export(Segmentation.open(summary["out"]), out / "overview.png")
    return (
        {**summary, "overview": str(picture.absolute())},
        [*text, f"result     {options.out}", f"picture    {picture}"],
        code,
    )


def segment(options: Namespace) -> VerbOutput:
    """Segment one slide in two stages."""
    wanted = _run_options(options)
    model = load_model(options.model, device=options.device, precision=options.precision)
    with (
        open_slide(options.slide, mpp=options.mpp, **wanted.picture.as_dict()) as slide,
        _cluster(options) as cluster,
    ):
        drawn = annotations_of(options.region, slide.bounds, slide.level_shapes[0])
        if drawn:
            wanted = replace(wanted, region=rings_of(drawn))
        seg = prepare(slide, model, options.out, wanted)
        steps = run_to_end(seg, wanted.selection(seg.card), cluster=cluster)
        with saving():
            watch(steps, progress=not options.quiet)
            if drawn:
                keep_measured(seg, drawn)
        summary = summarise(seg)
    return _summarised(summary)


def _summarised(summary: dict[str, Any]) -> VerbOutput:
    return summary, summary_lines(summary), DONE if summary["complete"] else FAILED


def _run_options(options: Namespace) -> RunOptions:
    """The settings of a run, from the words of the command line."""
    return RunOptions(
        threshold=options.threshold,
        fraction=options.fraction,
        budget_s=options.budget,
        refine=options.refine,
        # batch has none, and a file is read once the slide is open
        region=region if isinstance(region := getattr(options, "region", None), Box) else None,
        tissue=options.tissue,
        uncertainty=options.uncertainty,
        **picture_of(options).as_dict(),
        overwrite=options.overwrite,
        take_over=options.take_over,
        least_object_um2=options.least_area,
    )


def picture_of(options: Namespace) -> Picture:
    """Picture of a slide that the words of the command line ask for."""
    return Picture(
        scene=options.scene,
        channel=options.channel,
        z=options.z,
        t=options.t,
        intensity=options.intensity,
    )


def _cluster(options: Namespace) -> AbstractContextManager[Cluster | None]:
    """The cluster to compute on; None for this process."""
    if options.scheduler is None and options.workers is None:
        return nullcontext()
    from napari_twostage.distributed import connect

    return connect(
        options.scheduler,
        workers=options.workers,
        device=options.device,
        precision=options.precision,
    )


def refine(options: Namespace) -> VerbOutput:
    """Refine more of a result."""
    seg = Segmentation.open(options.result, slide=options.slide)
    if options.take_over:
        seg.take_over()
    seg.attach_model(
        load_model(seg.record.model.source, device=options.device, precision=options.precision)
    )
    known = seg.record.slide
    drawn = annotations_of(options.region, known.bounds, known.level_shapes[0])
    require_segmented(seg, drawn)
    region = rings_of(drawn) or options.region
    if isinstance(region, Box):
        require_inside(region, known.level_shapes[0])
    wanted = Selection(
        threshold=options.threshold,
        fraction=options.fraction,
        budget_s=options.budget,
        region=None if region is None else seg.to_fine(region),
    )
    if wanted == Selection():
        raise SelectionError("say what to refine: --threshold, --fraction, --budget or --region")
    if options.dry_run:
        return _forecast(seg, wanted)
    with _cluster(options) as cluster, saving():
        seg.refine(wanted, progress=not options.quiet, cluster=cluster)
        if drawn:
            keep_measured(seg, drawn)
    return _summarised(summarise(seg))


def _forecast(seg: Segmentation, wanted: Selection) -> VerbOutput:
    """Cost and gain of a selection, as far as the coarse pass has come."""
    plan = seg.select(wanted, seconds_per_tile=seg.model.seconds_per_tile)
    there = completeness(seg)
    known = there.coarse_complete
    summary = {
        "tiles": plan.n_tiles,
        "fraction": plan.fraction,
        "estimated_seconds": plan.estimated_seconds,
        "expected_dice": plan.expected_dice,
        "expected_dice_interval": plan.dice_interval,
        "expected_dice_before": plan.expected_dice_before,
        "no_dice": plan.no_dice,
        "complete": there.complete,
        "missing": there.missing(),
    }
    text = [plan.describe() if known else f"{plan.n_tiles:,} tiles so far"]
    if there.complete:
        return summary, text, DONE
    return summary, [*text, f"UNFINISHED {there.describe()}"], FAILED


def write(options: Namespace) -> VerbOutput:
    """Export a result to one or more files."""
    seg = Segmentation.open(options.result, slide=options.slide)
    check_targets(seg, options.targets)
    written = []
    with saving():
        for target in options.targets:
            with _bar(target.name, quiet=options.quiet) as show:
                path = export(
                    seg,
                    target,
                    progress=show,
                    crop=options.crop,
                    least_object_um2=options.least_area,
                    measure=options.measure,
                    cell_um=options.cell,
                )
                written.append(str(path))
            if lacking := left_out_of(seg, path, options.measure):
                sys.stderr.write(f"napari-twostage: {path.name}: {lacking}\n")
    there = completeness(seg)
    if not there.complete:
        sys.stderr.write(f"napari-twostage: {seg.path} is unfinished: {there.describe()}\n")
    summary = {"written": written, "complete": there.complete, "missing": there.missing()}
    return summary, written, DONE if there.complete else FAILED


@contextmanager
def _bar(name: str, *, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Show a progress bar; yields a function that takes the share done, from 0 to 1."""
    layout = "{l_bar}{bar}| {elapsed}<{remaining}"
    with tqdm(desc=name, total=1000, disable=quiet, bar_format=layout) as bar:
        yield lambda done: bar.update(round(1000 * done) - bar.n)


def info(options: Namespace) -> VerbOutput:
    """Describe a slide, a result, or this machine."""
    if options.check or options.repair:
        return check_result(options)
    if options.path is None:
        return _machine()
    if is_folder(options.path) and is_result(options.path):
        seg = Segmentation.open(options.path)
        summary, lines, code = _summarised(summarise(seg))
        return {**summary, "record": seg.record.as_dict()}, lines, code
    with open_slide(options.path, mpp=options.mpp, **picture_of(options).as_dict()) as slide:
        summary, text = describe_slide(slide)
        for name in bundled_names():
            grid = working_grid(slide, read_bundle(name).card)
            text.append(f"model      {name} would work at {grid.mpp[0]:.4g} µm per pixel")
    return summary, text, DONE


def _machine() -> VerbOutput:
    names = bundled_names()
    chosen = describe_choice(read_bundle(names[0]).losses)
    summary = {**describe_machine(thread_count()), **chosen, "models": names}
    return summary, [f"{name:15} {_plain(value)}" for name, value in summary.items()], DONE


def _plain(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


def view(options: Namespace) -> VerbOutput:
    """Open napari with slides or results and the panel."""
    if not (find_spec("napari") and find_spec("qtpy")):
        raise TwoStageError(
            "view needs napari, which is not installed; pip install 'napari-twostage[all]'"
        )
    missing = [path for path in options.paths if isinstance(path, Path) and not path.exists()]
    if missing:
        raise SlideError(f"there is no file {missing[0]}; check the path")
    from napari_twostage.viewer.launch import launch

    with saving():
        launch(options.paths)
    return {"opened": [str(path) for path in options.paths]}, [], DONE


def models(options: Namespace) -> VerbOutput:
    """List the bundled models, or show a card."""
    names = [options.model] if options.model else bundled_names()
    bundles = [read_bundle(name) for name in names]
    text = [line for bundle in bundles for line in _model_lines(bundle)]
    return {"models": [json.loads(bundle.card.to_json()) for bundle in bundles]}, text, DONE


def _model_lines(bundle: Bundle) -> list[str]:
    card = bundle.card
    integers = "in it" if bundle.quantised else "not in it; see `napari-twostage quantise --help`"
    network = f"  int8      {integers}"
    if bundle.card.is_onnx:
        network = f"  network   ONNX, {len(bundle.weights) / 1e6:.1f} MB, both stages"
    classes = ", ".join(f"{c.value} {c.name} {c.color}" for c in card.classes)
    text = [
        f"{card.name} {card.version}: {card.description}",
        f"  classes   {classes}",
        f"  pixels    {card.fine_mpp} µm, as they are from {card.mpp_range[0]} to "
        f"{card.mpp_range[1]}; coarse pass {card.ratio}× coarser",
        f"  tiles     {card.tile_px} px + {card.halo_px} px halo, threshold "
        f"{card.default_threshold} on {card.uncertainty}",
        f"  trained   {card.training_data}",
        f"  licence   {card.licence}",
        network,
        f"  domain    {_domain_line(card)}",
    ]
    return text + [f"  measured  {key}: {value}" for key, value in card.metrics.items()]


def _domain_line(card: ModelCard) -> str:
    """Training images that slides are compared with."""
    if card.domain is None:
        return "not in it; see `napari-twostage calibrate --help`"
    kinds = {"bright field": card.domain.bright_field, "dark field": card.domain.dark_field}
    counts = [f"{kind.images:,} in {name}" for name, kind in kinds.items() if kind is not None]
    return f"slides are compared with training images, {' and '.join(counts)}"


def batch(options: Namespace) -> VerbOutput:
    """Segment many slides; one that fails does not stop the others."""
    model = load_model(options.model, device=options.device, precision=options.precision)
    with _cluster(options) as cluster, saving():
        rows = list(
            segment_all(
                options.slides,
                model,
                options.out,
                _run_options(options),
                mpp=options.mpp,
                progress=not options.quiet,
                cluster=cluster,
            )
        )
    table = [row.as_dict() for row in rows]
    code = DONE if all(row.whole for row in rows) else FAILED
    return {"slides": table, "table": str(options.out / TABLE)}, aligned(table), code
