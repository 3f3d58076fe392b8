"""A result in figures: for people and for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.measure.areas import areas
from napari_twostage.method.tiling import TileState

if TYPE_CHECKING:
    from napari_twostage.engine.segmentation import Segmentation


def summarise(seg: Segmentation) -> dict[str, Any]:
    """Sum up a result: JSON-able; seconds are those of all its runs together."""
    states = seg.states
    tissue = int((states != TileState.OUTSIDE).sum())
    refined = int(seg.ledger.refined.sum())
    runs = seg.record["runs"]
    stages = ("pyramid", "tissue", "coarse", "refine")
    return {
        "slide": seg.name,
        "out": str(seg.path),
        "model": f"{seg.card.name} {seg.card.version}",
        "slide_mpp": list(seg.slide_mpp),
        "mpp_source": seg.record["slide"]["mpp_source"],
        "mpp": list(seg.grid.mpp),
        "seconds": {
            stage: round(sum(run["seconds"][stage] for run in runs), 3) for stage in stages
        },
        "tiles": {
            "tissue": tissue,
            "refined": refined,
            "edited": int((states == TileState.EDITED).sum()),
            "failed": len(seg.failures),
        },
        "fraction_refined": refined / max(1, tissue),
        "expected_dice": round(seg.ranking.expected_dice(seg.ledger.refined), 4),
        "tissue_mm2": seg.record["tissue"]["area_mm2"],
        "classes": [
            {"name": area.name, "area_mm2": area.area_mm2, "pixels": area.pixels}
            for area in areas(seg)
        ],
        "failures": sorted(set(seg.failures.values())),
    }


def lines(summary: dict[str, Any]) -> list[str]:
    """The same for people, a line each."""
    seconds, tiles = summary["seconds"], summary["tiles"]
    height, width = summary["mpp"]
    text = [
        f"slide      {summary['slide']}",
        f"model      {summary['model']}",
        f"pixel size {height:.4g} × {width:.4g} µm ({summary['mpp_source']})",
        "time       "
        + " · ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if value >= 0.05),
        f"refined    {tiles['refined']:,} of {tiles['tissue']:,} tissue tiles "
        f"({summary['fraction_refined']:.1%})",
        f"quality    expected Dice {summary['expected_dice']:.2f}",
        f"tissue     {summary['tissue_mm2']:.4g} mm²",
    ]
    text += [f"area       {c['name']} {c['area_mm2']:.4g} mm²" for c in summary["classes"]]
    if tiles["failed"]:
        text.append(f"failed     {tiles['failed']:,} tiles: {summary['failures'][0]}")
    return text
