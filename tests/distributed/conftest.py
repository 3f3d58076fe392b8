"""One case for all tests of clusters: real tissue with a damaged tile, a small real network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.distributed.helpers import Case
from tests.models.random_model import random_bundle
from tests.proofs.helpers import outcome, overwrite_tile, tissue_pixels, write_tiff

from napari_twostage import load_model
from napari_twostage.distributed import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_twostage.distributed import Cluster

SHAPE = (1403, 549)
"""So high that a level of the overview has chunks that partitions share; odd at the edges."""
DAMAGED_TILE = 21


@pytest.fixture(scope="session")
def threads() -> int:
    """Of the model in every worker; one process has all, and labels must not depend on it."""
    return 1


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """What one process makes of it."""
    folder = tmp_path_factory.mktemp("case")
    slide = write_tiff(folder / "slide.tif", tissue_pixels(*SHAPE))
    overwrite_tile(slide, DAMAGED_TILE, b"\xff" * 64)
    random_bundle().save(folder / "model")
    model = load_model(folder / "model", device="cpu")
    done = folder / "one-process.zarr"
    case = Case(slide, model, {"fraction": 0.4, "tissue": False}, done, {})
    return case._replace(expected=outcome(case.segment(done)))


@pytest.fixture(scope="session")
def cluster(threads: int) -> Iterator[Cluster]:
    """Two processes of this machine, for tests that leave them alive."""
    with connect(workers=2, threads=threads, device="cpu") as cluster:
        yield cluster
