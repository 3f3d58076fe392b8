"""Shared case of the cluster tests: real tissue with a damaged tile, and a small real network."""

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
    from pathlib import Path

    from napari_twostage.distributed import Cluster

SHAPE = (1403, 549)
"""Rows and columns; tall enough for a pyramid level whose chunks partitions share."""
SMALL_SHAPE = (549, 549)
DAMAGED_TILE = 21


@pytest.fixture(scope="session")
def threads() -> int:
    """Threads of the model in each worker; labels must not depend on it."""
    return 1


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Case with the outcome of a single process."""
    return _make_case(tmp_path_factory.mktemp("case"), SHAPE)


@pytest.fixture(scope="session")
def small_case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """Case of fewer tiles, for an object store, where each costs several requests."""
    return _make_case(tmp_path_factory.mktemp("small-case"), SMALL_SHAPE)


def _make_case(folder: Path, shape: tuple[int, int]) -> Case:
    slide = write_tiff(folder / "slide.tif", tissue_pixels(*shape))
    overwrite_tile(slide, DAMAGED_TILE, b"\xff" * 64)
    random_bundle(objects="distance").save(folder / "model")
    model = load_model(folder / "model", device="cpu")
    done = folder / "one-process.zarr"
    case = Case(slide, model, {"fraction": 0.4, "tissue": False}, done, {})
    return case._replace(expected=outcome(case.segment(done)))


@pytest.fixture(scope="session")
def cluster(threads: int) -> Iterator[Cluster]:
    """Cluster of two local processes, for tests that do not kill them."""
    with connect(workers=2, threads=threads, device="cpu") as cluster:
        yield cluster
