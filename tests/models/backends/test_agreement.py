"""Every backend gives what eager float32 torch gives, on real tissue and with real weights."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.models.random_model import random_bundle

from napari_twostage import Box, load_model, open_slide
from napari_twostage.errors import ModelError
from napari_twostage.models.backends import conversion, openvino
from napari_twostage.models.backends.precision import OFFERED, multiplies
from napari_twostage.models.bundle import read_bundle
from napari_twostage.models.card import window_px
from napari_twostage.models.model import Model
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_twostage.models.bundle import Bundle

F32_TOLERANCE = 1e-3
"""Of logits, of which the surest are near 10; seen: 1e-5."""
FLIPPED = 0.01
"""Share of pixels whose label a lower precision may change; seen: 0.003."""
CORNER = (1431, 742)
"""Where the sample slide's densest tissue begins."""

GPUS = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def needing(device: str, precision: str = "f32") -> pytest.MarkDecorator:
    """Skip a test where the machine has no such GPU, or its CPU only emulates the precision."""
    if device in GPUS:
        return pytest.mark.skipif(not GPUS[device], reason=f"there is no {device} here")
    return pytest.mark.skipif(
        not multiplies(precision, device), reason=f"this CPU only emulates {precision}"
    )


OTHERS = [pytest.param(device, marks=needing(device)) for device in ("openvino", *GPUS)]
"""Than torch on the CPU, in float32."""
LOWER = [
    pytest.param(device, precision, marks=needing(device, precision))
    for device, precisions in OFFERED.items()
    for precision in precisions
    if precision != "f32"
]


def tissue(side: int, count: int) -> list[np.ndarray]:
    """Cut windows out of the sample slide."""
    with open_slide(sample_slide()) as slide:
        return [
            np.asarray(slide.read(Box.at(CORNER[0] + 37 * index, CORNER[1], side, side)), np.uint8)
            for index in range(count)
        ]


def run_stages(model: Model, count: int = 2) -> list[np.ndarray]:
    """Logits of either stage over real windows of its size."""
    card = model.card
    coarse = model.coarse(tissue(card.coarse_window_px, count))
    return [coarse, model.refine(tissue(card.tile_px + 2 * card.halo_px, count))]


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    return run_stages(load_model("nuclei", device="cpu", precision="f32"))


@pytest.mark.parametrize("device", OTHERS)
def test_f32_agrees_with_torch_on_the_cpu(device: str, expected: list[np.ndarray]) -> None:
    found = run_stages(load_model("nuclei", device=device, precision="f32"))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < F32_TOLERANCE


@pytest.mark.parametrize(("device", "precision"), LOWER)
def test_a_lower_precision_changes_few_labels(
    device: str, precision: str, expected: list[np.ndarray]
) -> None:
    found = run_stages(load_model("nuclei", device=device, precision=precision))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == np.float32
        assert not np.array_equal(ours, theirs)  # else it is float32 after all
        assert ((ours > 0) != (theirs > 0)).mean() < FLIPPED


@pytest.mark.parametrize(("device", "precision"), [("cpu", "f32"), ("openvino", "f32"), *LOWER])
def test_a_window_has_the_same_logits_in_any_company(device: str, precision: str) -> None:
    model = load_model("nuclei", device=device, precision=precision)
    windows = tissue(model.card.tile_px + 2 * model.card.halo_px, 7)
    together = model.refine(windows)
    for index, window in enumerate(windows):
        assert np.array_equal(model.refine([window])[0], together[index])


@pytest.mark.parametrize("device", ["cpu", *OTHERS])
def test_many_threads_may_call(device: str) -> None:
    model = load_model("nuclei", device=device, precision="f32")
    windows = tissue(model.card.tile_px + 2 * model.card.halo_px, 7)
    expected = model.refine(windows)
    with ThreadPoolExecutor(5) as callers:
        calls = [callers.submit(model.refine, windows[-count:]) for count in (7, 1, 4, 3, 7, 2)]
        for call in calls:
            assert np.array_equal(call.result(), expected[-len(call.result()) :])


FIRST_CALLS = """
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
import numpy as np
from napari_twostage import load_model

model = load_model("nuclei", device="openvino", precision="f32")
windows = [np.zeros((160, 160, 3), np.uint8)] * 2
with ThreadPoolExecutor(2) as callers:
    found = [call.result() for call in [callers.submit(model.refine, windows) for _ in range(2)]]
assert np.array_equal(*found)
"""


def test_the_very_first_calls_of_a_process_may_come_from_two_threads() -> None:
    for _ in range(3):
        subprocess.run([sys.executable, "-c", FIRST_CALLS], check=True, timeout=120)


def test_openvino_goes_on_after_a_call_that_failed() -> None:
    model = load_model("nuclei", device="openvino", precision="f32")
    side = model.card.tile_px + 2 * model.card.halo_px
    (window,) = tissue(side, 1)
    expected = model.refine([window] * 9)
    for _ in range(3 * model.threads):  # more than there are requests
        with pytest.raises(ValueError, match="invalid literal"):
            model.refine([np.full(window.shape, "no pixel")] * 2)
    assert np.array_equal(model.refine([window] * 9), expected)


@pytest.fixture
def set_threads() -> Iterator[Callable[[int], None]]:
    """Set torch's number of threads, until the test ends."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_logits_are_the_same_with_any_number_of_threads(
    device: str, set_threads: Callable[[int], None]
) -> None:
    found = []
    for threads in (1, 2, 3):
        set_threads(threads)
        model = load_model("nuclei", device=device, precision="f32")
        assert model.threads == threads
        found.append(run_stages(model))
        assert torch.get_num_threads() == threads  # the rest of the process keeps its own
    for logits in found[1:]:
        assert all(np.array_equal(*pair) for pair in zip(logits, found[0], strict=True))


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 4, "fine_ratio": 2},
        {"refiner": {"width": 16}, "halo_px": 48},
        {"architecture": {"name": "fcn"}},
        {"architecture": {"name": "deeplabv3"}},
        {"architecture": {"name": "unet", "backbone": "resnet18"}},
        {"architecture": {"name": "segnet", "backbone": "resnet18"}},
    ],
    ids=str,
)
def test_openvino_takes_every_architecture(changes: dict[str, object]) -> None:
    bundle = random_bundle(**changes)
    side = bundle.card.tile_px + 2 * bundle.card.halo_px
    windows = tissue(side, 2)
    expected = Model(bundle, "cpu").refine(windows)
    found = Model(bundle, "openvino").refine(windows)
    assert np.abs(found - expected).max() < F32_TOLERANCE * max(1, np.abs(expected).max())


@pytest.fixture(scope="module")
def nuclei() -> Bundle:
    return read_bundle("nuclei")


def converted_by_torch(bundle: Bundle) -> Bundle:
    return replace(bundle, converted=None)


def test_bundled_networks_give_the_logits_of_torch(
    nuclei: Bundle, expected: list[np.ndarray]
) -> None:
    assert nuclei.converted is not None
    for ours, theirs in zip(run_stages(Model(nuclei, "openvino", "f32")), expected, strict=True):
        assert np.abs(ours - theirs).max() < 1e-4


@pytest.mark.parametrize(
    "precision", ["f32", pytest.param("bf16", marks=needing("openvino", "bf16"))]
)
def test_bundled_networks_are_those_that_torch_converts_here(
    nuclei: Bundle, precision: str
) -> None:
    bundled = run_stages(Model(nuclei, "openvino", precision))
    made = run_stages(Model(converted_by_torch(nuclei), "openvino", precision))
    for ours, theirs in zip(bundled, made, strict=True):
        assert np.abs(ours - theirs).max() < (1e-4 if precision == "f32" else 1)
        assert ((ours > 0) != (theirs > 0)).mean() < (1e-4 if precision == "f32" else FLIPPED)


def test_bundled_networks_take_windows_of_another_size(nuclei: Bundle) -> None:
    for stage, side in (("coarse", 256), ("refine", 320)):
        windows = tissue(side, 1)
        found = getattr(Model(nuclei, "openvino", "f32"), stage)(windows)
        wanted = getattr(Model(nuclei, "cpu", "f32"), stage)(windows)
        assert np.abs(found - wanted).max() < F32_TOLERANCE


@pytest.mark.parametrize(
    "changes",
    [
        {"ratio": 4, "fine_ratio": 2},
        {"refiner": {"width": 16}, "halo_px": 48},
    ],
    ids=str,
)
def test_any_bundle_may_carry_its_networks(changes: dict[str, object]) -> None:
    bundle = random_bundle(**changes)
    carrying = replace(bundle, converted=conversion.convert_bundle(bundle))
    assert carrying.sha256 == bundle.sha256
    assert len(carrying.converted) < 0.8 * len(bundle.weights)
    side = window_px(bundle.card, "refine")
    windows = tissue(side, 2)
    expected = Model(bundle, "cpu").refine(windows)
    found = Model(carrying, "openvino").refine(windows)
    assert np.abs(found - expected).max() < F32_TOLERANCE * max(1, np.abs(expected).max())


def test_networks_of_other_weights_are_refused_by_openvino_alone(nuclei: Bundle) -> None:
    other = replace(random_bundle(), converted=nuclei.converted)
    with pytest.raises(ModelError, match="networks for OpenVINO were made from other weights"):
        Model(other, "openvino")
    Model(other, "cpu")


def test_a_bundle_without_networks_needs_torch(
    nuclei: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "find_spec", lambda _: None)
    said = r"nuclei has no networks for OpenVINO, .*; pip install 'napari-twostage\[torch\]'"
    with pytest.raises(ModelError, match=said) as caught:
        Model(converted_by_torch(nuclei), "openvino", "f32")
    assert "\n" not in str(caught.value)
    Model(nuclei, "openvino", "f32")


def test_a_damaged_cache_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "cache_folder", lambda: tmp_path)
    bundle = random_bundle()
    windows = tissue(bundle.card.tile_px + 2 * bundle.card.halo_px, 1)
    first = Model(bundle, "openvino").refine(windows)
    (kept,) = tmp_path.glob("*/network.xml")
    kept.write_text("<net")
    assert np.array_equal(Model(bundle, "openvino").refine(windows), first)
    assert kept.read_text().startswith("<?xml")


def test_of_a_full_cache_goes_what_nobody_used_for_longest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(openvino, "KEPT", 2)
    bundles = {name: random_bundle(name=name) for name in ("a", "b", "c")}
    for name in ("a", "b", "a", "c"):
        bundle = bundles[name]
        Model(bundle, "openvino").refine(tissue(bundle.card.tile_px + 2 * bundle.card.halo_px, 1))
    kept = {entry.name.partition("-")[0] for entry in tmp_path.iterdir()}
    assert kept == {bundles[name].sha256[:16] for name in ("a", "c")}


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    monkeypatch.setattr(openvino, "cache_folder", lambda: in_the_way)
    bundle = random_bundle()
    windows = tissue(bundle.card.tile_px + 2 * bundle.card.halo_px, 1)
    found = Model(bundle, "openvino").refine(windows)
    assert np.abs(found - Model(bundle, "cpu").refine(windows)).max() < F32_TOLERANCE


def test_what_cannot_be_converted_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no such operation\nand a long trace")

    monkeypatch.setattr(openvino, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(conversion, "_translate", fail)
    model = Model(random_bundle(), "openvino")
    with pytest.raises(ModelError, match="cannot convert random: no such operation; take --device"):
        model.coarse(tissue(64, 1))
