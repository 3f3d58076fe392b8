"""Description of a slide, for `info`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_twostage.slides.base import Slide
    from napari_twostage.slides.scenes import Scene


def describe_slide(slide: Slide) -> tuple[dict[str, Any], list[str]]:
    """Describe a slide: JSON-able facts, and the same as lines of text."""
    height, width = slide.level_shapes[0]
    low, high = slide.intensity_range
    facts = {
        "name": slide.name,
        "format": slide.format,
        "level_shapes": [list(shape) for shape in slide.level_shapes],
        "mpp": list(slide.mpp),
        "mpp_source": slide.mpp_source,
        "channels": slide.channels,
        "dtype": str(slide.dtype),
        "intensity_range": [low, high],
        "bounds": None if slide.bounds is None else slide.bounds.as_list(),
        "picture": slide.picture.as_dict(),
        "scenes": [_scene_facts(scene) for scene in slide.scenes],
        "channel_names": list(slide.channel_names),
        "notices": slide.notices,
    }
    lines = [
        f"slide      {slide.name} ({slide.format})",
        f"size       {height:,} × {width:,} pixels, "
        f"{height * slide.mpp[0] / 1000:.2f} × {width * slide.mpp[1] / 1000:.2f} mm",
        f"pixel size {slide.mpp[0]:.4g} × {slide.mpp[1]:.4g} µm ({slide.mpp_source})",
        f"pixels     {slide.channels} × {slide.dtype}, {low:g} is black and {high:g} white",
        "levels     " + ", ".join(f"{h} × {w}" for h, w in slide.level_shapes),
    ]
    if (box := slide.bounds) is not None:
        lines.append(
            f"bounds     {box.height:,} × {box.width:,} pixels from row {box.top:,}, column "
            f"{box.left:,}; QuPath shows only these"
        )
    if len(slide.scenes) > 1:
        scans = [number for number, scene in enumerate(slide.scenes) if scene.scan]
        read = scans[0] if slide.picture.scene is None and scans else slide.picture.scene
        lines += [
            f"scene      {_scene_line(number, scene, number == read)}"
            for number, scene in enumerate(slide.scenes)
        ]
    lines += [f"channel    {_channel_line(n, name)}" for n, name in enumerate(slide.channel_names)]
    return facts, lines + [f"note       {notice}" for notice in slide.notices]


def _scene_facts(scene: Scene) -> dict[str, Any]:
    size = None if scene.mpp is None else list(scene.mpp)
    return {"name": scene.name, "shape": list(scene.shape), "mpp": size, "scan": scene.scan}


def _scene_line(number: int, scene: Scene, read: bool) -> str:
    name = "" if scene.name == str(number) else f" {scene.name}"
    size = "" if scene.mpp is None else f", {scene.mpp[0]:.4g} µm"
    kind = "" if scene.scan else ", no scan"
    return f"{number}{name}: {scene.shape[0]:,} × {scene.shape[1]:,} pixels{size}{kind}" + (
        ", this one" if read else ""
    )


def _channel_line(number: int, name: str) -> str:
    return str(number) if name == str(number) else f"{number} {name}"
