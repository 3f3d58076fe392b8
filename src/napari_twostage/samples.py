"""The sample slide that comes with the package."""

from __future__ import annotations

from pathlib import Path

from napari_twostage.errors import SlideError

SLIDE = "CMU-1-Small-Region.svs"
"""H&E, 2220 × 2967 pixels at 0.499 µm; CC0, from OpenSlide's test data."""


def sample_slide() -> Path:
    """Path of the sample slide, in the installed package or in a source checkout."""
    package = Path(__file__).parent
    for folder in (package / "sample_data", package.parents[1] / "sample_data"):
        if (folder / SLIDE).is_file():
            return folder / SLIDE
    raise SlideError(f"{SLIDE} is not installed; get it from sample_data/ of the source repository")
