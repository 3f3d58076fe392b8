"""Files of every TIFF format, written as faithfully as tifffile or a few bytes by hand allow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests import slide_files

Pixels = NDArray[np.generic]
Write = Callable[..., Path]

SAMPLES = Path(__file__).parents[2] / "sample_data"


@pytest.fixture(scope="session")
def real_slide() -> Path:
    """CMU-1-Small-Region: real H&E, JPEG tiles, 0.499 um/px, one level."""
    return SAMPLES / "CMU-1-Small-Region.svs"


@pytest.fixture(scope="session")
def picture() -> Callable[..., Pixels]:
    """Make smooth pixels of any shape that differ in every place and channel."""
    return slide_files.picture


@pytest.fixture
def write_svs(tmp_path: Path) -> Write:
    """See `slide_files.write_svs`."""
    return partial(slide_files.write_svs, tmp_path / "slide.svs")


@pytest.fixture
def write_scn(tmp_path: Path) -> Write:
    """See `slide_files.write_scn`."""
    return partial(slide_files.write_scn, tmp_path / "slide.scn")


@pytest.fixture
def write_bif(tmp_path: Path) -> Write:
    """See `slide_files.write_bif`."""
    return partial(slide_files.write_bif, tmp_path / "slide.bif")


@pytest.fixture
def write_ome(tmp_path: Path) -> Write:
    """See `slide_files.write_ome`."""
    return partial(slide_files.write_ome, tmp_path / "slide.ome.tif")


@pytest.fixture
def write_ndpi(tmp_path: Path) -> Write:
    """See `slide_files.write_ndpi`."""
    return partial(slide_files.write_ndpi, tmp_path / "slide.ndpi")


@pytest.fixture(scope="session")
def dicom_copy() -> Path:
    """CMU-1-Small-Region as DICOM: one level, a label, an overview and a thumbnail."""
    folder = Path(__file__).parents[3] / "shared/data/wsi/cmu1_small_region_dicom"
    if not folder.is_dir():
        pytest.skip("the DICOM copy of CMU-1 is not beside this checkout, in shared/data")
    return folder
