"""With every tile refined, two stages are the dense run: no seam, no order, no batch shows."""

from __future__ import annotations

import dataclasses
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.proofs.helpers import (
    MPP,
    assert_same,
    dense_labels,
    outcome,
    padded_reader,
    tissue_pixels,
    write_tiff,
)

from napari_twostage import Box, Plan, Segmentation, TileState, load_model, open_slide, segment
from napari_twostage.models.backends import torch_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_twostage.models.model import Model
    from napari_twostage.slides.base import Slide


@dataclasses.dataclass
class Proof:
    """A slide of odd size, its finished coarse pass, and what refining all of it gives."""

    slide: Slide
    coarse: Path
    expected: dict[str, object]


@pytest.fixture(scope="module")
def shape(model: Model) -> tuple[int, int]:
    side = model.card.tile_px
    return 2 * side + side // 3, 3 * side + side // 2 + 1


@pytest.fixture(scope="module")
def proof(model: Model, shape: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Proof:
    folder = tmp_path_factory.mktemp("dense")
    slide = open_slide(write_tiff(folder / "slide.tif", tissue_pixels(*shape)))
    segment(slide, model, folder / "coarse.zarr", refine="none", tissue=False)
    everything = segment(slide, model, folder / "all.zarr", refine="all", tissue=False)
    return Proof(slide, folder / "coarse.zarr", outcome(everything))


def refined(
    proof: Proof, model: Model | Regrouped, folder: Path, refine: Callable[[Segmentation], object]
) -> Segmentation:
    """Refine a copy of the coarse pass in some way."""
    out = folder / "copy.zarr"
    shutil.copytree(proof.coarse, out)
    refine(Segmentation.open(out, slide=proof.slide, model=model))
    return Segmentation.open(out, slide=proof.slide, model=model)


def everything(seg: Segmentation) -> Plan:
    return seg.plan(fraction=1.0)


def test_refining_all_gives_the_labels_of_the_dense_run(
    proof: Proof, model: Model, shape: tuple[int, int]
) -> None:
    read = padded_reader(tissue_pixels(*shape), model.card.tile_px + model.card.halo_px)
    dense = dense_labels(model, read, shape)
    assert 0 < dense.mean() < 1  # there is something to get wrong
    assert (proof.expected["states"] == TileState.REFINED).all()
    np.testing.assert_array_equal(proof.expected["labels 0"], dense)


def test_and_so_where_the_slide_is_resampled(
    model: Model, shape: tuple[int, int], tmp_path: Path
) -> None:
    slide = open_slide(tissue_pixels(*shape), mpp=0.6 * MPP)
    seg = segment(slide, model, tmp_path / "out.zarr", refine="all", tissue=False)
    assert seg.grid.downsample != (1, 1)
    dense = dense_labels(model, seg.view(seg.grid).read, seg.grid.shape)
    np.testing.assert_array_equal(np.asarray(seg.labels[0]), dense)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_does_not_matter(proof: Proof, model: Model, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = proof.slide.level_shapes[0]
    corner = int(rng.integers(height // 2)), int(rng.integers(width // 2))

    def shuffled(plan: Plan) -> Plan:
        order = rng.permutation(plan.n_tiles)
        return dataclasses.replace(plan, tiles=tuple(plan.tiles[i] for i in order))

    def refine(seg: Segmentation) -> None:
        seg.refine(shuffled(seg.plan(region=Box.at(*corner, height // 4, width // 4))))
        seg.refine(shuffled(seg.plan(fraction=rng.uniform(0.2, 0.5))))
        seg.refine(shuffled(everything(seg)))

    assert_same(outcome(refined(proof, model, tmp_path, refine)), proof.expected)


@pytest.mark.parametrize("batch", [1, 3, 13])
def test_what_is_computed_together_does_not_matter(
    proof: Proof, model: Model, tmp_path: Path, batch: int
) -> None:
    regrouped = Regrouped(model, batch)
    seg = refined(proof, regrouped, tmp_path, lambda seg: seg.refine(everything(seg)))
    assert max(regrouped.groups) == min(batch, seg.states.size)
    assert_same(outcome(seg), proof.expected)


class Regrouped:
    """A model that is handed chips in groups of another size, its networks' batch as it was."""

    def __init__(self, model: Model, refine_batch: int) -> None:
        self._model = model
        self.refine_batch = refine_batch
        self.groups: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._model, name)

    def refine(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        self.groups.append(len(windows))
        size = self._model.refine_batch
        parts = [windows[first : first + size] for first in range(0, len(windows), size)]
        return np.concatenate([self._model.refine(part) for part in parts])


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_another_batch_of_the_networks_changes_rounding_only(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why torch's batch is pinned: it chooses kernels by shape, and so their last bits."""
    model = load_model("nuclei", device="cpu", precision="f32")
    side = model.card.tile_px + 2 * model.card.halo_px
    pixels = tissue_pixels(side + 60, side + 60)
    windows = [pixels[at : at + side, at : at + side] for at in (0, 20, 60)]
    expected = model.refine(windows)
    monkeypatch.setattr(torch_backend, "BATCH_PX", batch * side**2)
    other = load_model("nuclei", device="cpu", precision="f32")
    assert other.refine_batch == batch * other.threads
    found = np.concatenate([other.refine([window]) for window in windows])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
