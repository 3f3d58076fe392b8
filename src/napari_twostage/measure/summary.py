"""Summary of a result: as JSON, and as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.measure.annotations import (
    AREA,
    CLASS_AREA,
    OBJECTS,
    SHARE,
    without_outdated,
)
from napari_twostage.measure.areas import areas
from napari_twostage.measure.completeness import completeness
from napari_twostage.measure.tissue_area import tissue_mm2
from napari_twostage.method.selection import describe_interval, interval_around
from napari_twostage.method.tiling import TileState
from napari_twostage.result.record_parts import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.result.result import Result


def summarise(result: Result) -> dict[str, Any]:
    """Summarise a result in types that JSON holds.

    Returns
    -------
    dict
        Slide, model, pixel sizes in micrometres (y, x), seconds per stage over all runs, numbers
        of tiles by state, share of tissue tiles refined, expected Dice (None if ``no_dice`` says
        why it is not stated) with its interval, the comparison with the training images, areas in
        square millimetres, the reasons of failed tiles, whether the result is complete, and what
        is missing, as values and in one line. ``tissue_mm2`` is the tissue that areas of classes
        are shares of, inside the region if there is one; ``tissue_slide_mm2`` is that of the whole
        slide. ``whole_slide`` says whether all of it was asked for. ``regions`` has the
        measurements of annotations that are of the labels as they are. ``artefacts_mm2`` has the
        area of each kind of artefact that was looked for; areas out of focus are in the tissue.
    """
    there = completeness(result)
    states = result.states
    tissue = int((states != TileState.OUTSIDE).sum())
    region = result.record.parameters.region
    refined = result.refined
    found, ranking = result.record.tissue, result.ranking
    domain = result.record.domain
    dice = None if ranking.no_dice else ranking.expected_dice(result.settled)
    interval = interval_around(dice, ranking.predictor)
    return {
        "slide": result.name,
        "out": str(result.path),
        "model": f"{result.card.name} {result.card.version}",
        "slide_mpp": list(result.slide_mpp),
        "mpp_source": result.record.slide.mpp_source,
        "mpp": list(result.grid.mpp),
        "seconds": {
            stage: round(sum(run.seconds.get(stage, 0.0) for run in result.record.runs), 3)
            for stage in STAGES
        },
        "tiles": {
            "tissue": tissue,
            "refined": int(refined.sum()),
            "edited": int((states == TileState.EDITED).sum()),
            "failed": len(result.failures),
        },
        "fraction_refined": int(refined.sum()) / max(1, tissue),
        "expected_dice": None if dice is None else round(dice, 4),
        "expected_dice_interval": None if interval is None else [round(end, 4) for end in interval],
        "no_dice": ranking.no_dice,
        "domain": None if domain is None else {**domain.as_dict(), "described": domain.text},
        "tissue_mm2": tissue_mm2(result),
        "tissue_slide_mm2": None if found is None else found.slide_mm2,
        "tissue_searched": None if found is None else found.searched,
        "left_out_mm2": None if found is None else found.left_out_mm2,
        "artefacts_mm2": None if found is None else found.artefacts_mm2,
        "region": None if region is None else region.as_list(),
        "whole_slide": region is None and not result.record.scope,
        "regions": [
            {"name": one.name, **one.measurements}
            for one in without_outdated(result, result.read_annotations())
            if one.stamp
        ],
        "notices": [] if found is None else found.notices(),
        "classes": [
            {
                "name": area.name,
                "area_mm2": area.area_mm2,
                "pixels": area.pixels,
                "objects": area.objects,
                "least_object_um2": area.least_object_um2,
                "left_out": area.left_out,
                "left_out_mm2": area.left_out_mm2,
                "left_out_described": area.describe_left_out(),
            }
            for area in areas(result)
        ],
        "failures": sorted(set(result.failures.values())),
        "complete": there.complete,
        "missing": there.missing(),
        "missing_described": there.describe(),
    }


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Format the dict of `summarise` as text, one line per fact."""
    seconds, tiles = summary["seconds"], summary["tiles"]
    height, width = summary["mpp"]
    dice, missing = summary["expected_dice"], summary["missing"]
    so_far = " so far" if {"tissue", "coarse_windows"} & missing.keys() else ""
    quality = f"unknown: {summary['no_dice']}"
    if dice is not None:
        quality = f"expected Dice {dice:.2f}{describe_interval(summary['expected_dice_interval'])}"
    text = [
        f"slide      {summary['slide']}",
        f"model      {summary['model']}",
        f"pixel size {height:.4g} × {width:.4g} µm ({summary['mpp_source']})",
        f"time       {_described(seconds)}",
        f"refined    {tiles['refined']:,} of {tiles['tissue']:,} tissue tiles "
        f"({summary['fraction_refined']:.1%}){so_far}",
        *([] if summary["domain"] is None else [f"domain     {summary['domain']['described']}"]),
        f"quality    {quality}",
        f"tissue     {_tissue(summary)}{so_far}",
    ]
    text += [f"note       {notice}" for notice in summary["notices"]]
    text += [f"area       {_class_line(kind)}{so_far}" for kind in summary["classes"]]
    names = [kind["name"] for kind in summary["classes"]]
    text += [f"region     {_region_line(one, names)}" for one in summary["regions"]]
    if tiles["failed"]:
        text.append(f"failed     {tiles['failed']:,} tiles: {summary['failures'][0]}")
    if missing:
        text.append(f"UNFINISHED {summary['missing_described']}")
    return text


def _class_line(kind: dict[str, Any]) -> str:
    """Area and objects of a class, and what was left out."""
    line = f"{kind['name']} {kind['area_mm2']:.4g} mm², {kind['objects']:,} objects"
    return f"{line}, {kind['left_out_described']}" if kind["left_out"] else line


def _region_line(region: dict[str, Any], classes: Sequence[str]) -> str:
    """Name and area of a region, and the objects and area of each class in it."""
    parts = [f"{region['name']} {region[AREA]:.4g} mm²"]
    for name in classes:
        objects, area, share = (region[f"{name}: {one}"] for one in (OBJECTS, CLASS_AREA, SHARE))
        parts.append(f"{name} {objects:,.0f} objects, {area:.4g} mm², {share:.1f} % of its tissue")
    return "; ".join(parts)


def _tissue(summary: dict[str, Any]) -> str:
    """Area of the tissue, and of what."""
    if summary["tissue_mm2"] is None:
        return "not searched"
    area, slide = f"{summary['tissue_mm2']:.4g} mm²", summary["tissue_slide_mm2"]
    if slide is None:
        return f"{area}, with the margin that version 0.1 counted"
    if summary["whole_slide"]:
        return area
    part = "region" if summary["region"] is not None else "part that was asked for"
    return f"{area} in the {part}, {slide:.4g} mm² on the slide"


def _described(seconds: dict[str, float]) -> str:
    parts = [f"{name} {value:.1f} s" for name, value in seconds.items() if value >= 0.05]
    return " · ".join(parts) or "not recorded"
