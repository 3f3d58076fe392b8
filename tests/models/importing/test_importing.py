"""Import of networks in all the ways that they differ, and the words for what does not fit."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.models.onnx_graphs import darkness, expected_darkness, graph, weight

from napari_twostage.errors import ModelError
from napari_twostage.models import load_model
from napari_twostage.models.importing.card_of import windows_of
from napari_twostage.models.importing.facts import (
    NORMALISATIONS,
    Facts,
    MissingFactsError,
    Normalisation,
)
from napari_twostage.models.importing.importing import import_model

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.models.model import Model

FACTS = Facts(
    mpp=0.5, classes=("dark",), normalisation=NORMALISATIONS["0-1"], tile_px=32, halo_px=8
)
"""Of windows of 48 pixels."""
SIDE = 48
CORE = slice(8, 40)


@pytest.fixture(scope="module")
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (SIDE * 2, SIDE * 2, 3), np.uint8)


def made(network: onnx.ModelProto, folder: Path, picture: Any, facts: Facts = FACTS) -> Model:
    """Model of a network, saved and loaded as a user does."""
    onnx.save(network, folder / "net.onnx")
    import_model(folder / "net.onnx", facts, picture).model.bundle.save(folder / "model")
    return load_model(folder / "model")


def logits(model: Model, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return model.refine([picture[:SIDE, :SIDE]])[0]


def wanted(picture: NDArray[np.uint8], outputs: int = 1) -> Any:
    return expected_darkness(picture[:SIDE, :SIDE], outputs)[:, CORE, CORE]


@pytest.mark.parametrize(
    ("network", "change"),
    [
        pytest.param({}, {}, id="plain"),
        pytest.param({"nhwc": True}, {}, id="NHWC"),
        pytest.param({"dtype": "uint8"}, {"normalisation": None}, id="uint8"),
        pytest.param({"dtype": "float16"}, {}, id="half precision"),
        pytest.param({"shape": (1, 3, SIDE, SIDE)}, {"tile_px": None}, id="fixed"),
        pytest.param({"nhwc": True, "shape": (1, SIDE, SIDE, 3)}, {}, id="fixed NHWC"),
        pytest.param({"last": "Sigmoid"}, {}, id="sigmoid"),
        pytest.param({"shape": ("n", "c", "h", "w")}, {"layout": "NCHW"}, id="channels not stated"),
    ],
)
def test_the_logits_are_those_of_the_network(
    network: dict[str, Any], change: dict[str, Any], tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    model = made(darkness(**network), tmp_path, picture, replace(FACTS, **change))
    np.testing.assert_allclose(logits(model, picture), wanted(picture), atol=0.02)
    assert model.compute.backend == "openvino"


@pytest.mark.parametrize(
    ("normalisation", "numbers"),
    [
        (NORMALISATIONS["0-255"], lambda window: window.astype(float)),
        (NORMALISATIONS["signed"], lambda window: window / 127.5 - 1),
        (NORMALISATIONS["window"], lambda window: (window - window.mean()) / window.std()),
        (
            Normalisation(standardise="channels"),
            lambda window: (window - window.mean(axis=(0, 1))) / window.std(axis=(0, 1)),
        ),
        (
            NORMALISATIONS["imagenet"],
            lambda window: (window / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
    ],
    ids=["0-255", "signed", "window", "channels", "imagenet"],
)
def test_pixels_are_normalised_as_stated(
    normalisation: Normalisation, numbers: Any, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    kernel = np.array([1.0, -2.0, 0.5]).reshape(1, 3, 1, 1)
    network = graph([helper.make_node("Conv", ["x", "w"], ["y"])], [weight("w", kernel)])
    model = made(network, tmp_path, picture, replace(FACTS, normalisation=normalisation))
    expected = (numbers(picture[:SIDE, :SIDE]) @ [1.0, -2.0, 0.5])[CORE, CORE]
    np.testing.assert_allclose(logits(model, picture)[0], expected, rtol=1e-4, atol=1e-3)


def test_blue_may_come_first_and_grey_is_luminance(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    window = picture[:SIDE, :SIDE][CORE, CORE] / 255
    first = graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        [weight("w", np.array([1.0, 0, 0]).reshape(1, 3, 1, 1))],
    )
    (tmp_path / "blue").mkdir()
    blue = made(first, tmp_path / "blue", picture, replace(FACTS, bgr=True))
    np.testing.assert_allclose(logits(blue, picture)[0], window[..., 2], atol=1e-5)
    (tmp_path / "grey").mkdir()
    grey = made(darkness(shape=("n", 1, "h", "w")), tmp_path / "grey", picture)
    expected = 8 * (0.5 - window @ [0.299, 0.587, 0.114])
    np.testing.assert_allclose(logits(grey, picture)[0], expected, atol=1e-4)


@pytest.mark.parametrize("last", [None, "Softmax"])
@pytest.mark.parametrize("background", [0, 2])
def test_the_background_may_be_any_channel(
    last: str | None, background: int, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    names = ["a", "b"]
    names.insert(background, "background")
    model = made(darkness(3, last=last), tmp_path, picture, replace(FACTS, classes=tuple(names)))
    assert [entry.name for entry in model.card.classes] == ["a", "b"]
    channels = wanted(picture, 3)
    order = [background, *(k for k in range(3) if k != background)]
    found = logits(model, picture)
    # softmax leaves differences of logits as they are
    np.testing.assert_allclose(
        found - found[:1], (channels - channels[background])[order], atol=1e-3
    )


def test_of_two_channels_one_logit_remains(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    facts = replace(FACTS, classes=("dark", "background"))
    model = made(darkness(2), tmp_path, picture, facts)
    dark, background = wanted(picture, 2)
    np.testing.assert_allclose(logits(model, picture)[0], dark - background, atol=1e-4)


@pytest.mark.parametrize("last", [None, "Sigmoid", "Softmax"])
def test_without_a_background_channel_nothing_likely_is_background(
    last: str | None, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    model = made(darkness(2, last=last), tmp_path, picture, replace(FACTS, classes=("a", "b")))
    labels = logits(model, picture).argmax(axis=0)
    likely = wanted(picture, 2).max(axis=0) > 0
    assert 0 < likely.mean() < 1
    # a softmax calls one of its classes likely everywhere
    np.testing.assert_array_equal(labels > 0, True if last == "Softmax" else likely)


def test_a_network_that_leaves_out_a_margin(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    shrinking = darkness(size=5)  # without padding
    with pytest.raises(ModelError, match=r"leaves out 2 pixels .* --halo 2 or more"):
        made(shrinking, tmp_path, picture, replace(FACTS, halo_px=0, tile_px=SIDE))
    (tmp_path / "wide").mkdir()
    (tmp_path / "padded").mkdir()
    found = logits(made(shrinking, tmp_path / "wide", picture), picture)
    padded = logits(made(darkness(size=5, pad=2), tmp_path / "padded", picture), picture)
    np.testing.assert_allclose(found, padded, atol=1e-5)


def test_the_trial_says_how_far_labels_depend_on_the_halo(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    onnx.save(darkness(size=9, pad=4, gain=50.0), tmp_path / "net.onnx")
    shares = [
        import_model(tmp_path / "net.onnx", facts, picture).changed_by_place
        for facts in (FACTS, replace(FACTS, halo_px=0, tile_px=SIDE))
    ]
    assert shares[0] == 0  # four pixels are enough
    assert shares[1] > 0.001


def test_both_stages_are_the_network_and_windows_do_not_depend_on_each_other(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    model = made(darkness(size=3, pad=1), tmp_path, picture)
    windows = [picture[at : at + SIDE, at : at + SIDE] for at in range(12)]
    together = model.coarse(windows)
    np.testing.assert_array_equal(together, model.refine(windows))
    for window, logit in zip(windows, together, strict=True):
        np.testing.assert_array_equal(model.refine([window])[0], logit)
    assert not model.card.mergeable


def test_libraries_agree(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    found = logits(
        made(
            darkness(3, size=3, last="Softmax", pad=1),
            tmp_path,
            picture,
            replace(FACTS, classes=("a", "b", "background")),
        ),
        picture,
    )
    other = load_model(tmp_path / "model", device="onnxruntime")
    assert other.compute.backend == "onnxruntime"
    np.testing.assert_allclose(logits(other, picture), found, atol=1e-4)


@pytest.mark.parametrize(
    ("device", "precision"),
    [("cpu", "f32"), ("cuda", "f32"), ("onnxruntime", "bf16"), ("openvino", "int8")],
)
def test_what_does_not_run_it_is_said(
    device: str, precision: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    made(darkness(), tmp_path, picture)
    with pytest.raises(ModelError, match=r"choose (auto, openvino, onnxruntime|f32)"):
        load_model(tmp_path / "model", device=device, precision=precision)


def test_a_bare_file_is_not_guessed_at(tmp_path: Path) -> None:
    onnx.save(darkness(), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match=r"is an ONNX file, .*napari-twostage import"):
        load_model(tmp_path / "net.onnx")


@pytest.mark.parametrize(("mpp", "ratio"), [(0.25, 4), (0.3, 4), (0.5, 2), (1.0, 2), (4.0, 2)])
def test_the_ratio_follows_from_the_pixel_size(
    mpp: float, ratio: int, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    card = made(darkness(), tmp_path, picture, replace(FACTS, mpp=mpp)).card
    assert (card.fine_mpp, card.ratio) == (mpp, ratio)


@pytest.mark.parametrize(
    ("change", "fixed", "tile", "halo"),
    [
        ({}, None, 256, 64),
        ({"tile_px": 192}, None, 192, 64),
        ({"halo_px": 13}, None, 256, 14),  # a multiple of the ratio
        ({"halo_px": 16, "least_px": 64, "step_px": 32}, None, 256, 16),
        ({"halo_px": 12, "least_px": 50, "step_px": 32}, None, 282, 12),  # 50 + 8 * 32
        ({"least_px": 512, "step_px": 16}, None, 384, 64),
        ({"least_px": 512, "step_px": 0}, None, 384, 64),
        ({}, 512, 384, 64),
        ({}, 224, 168, 28),
        ({"halo_px": 16}, 512, 480, 16),
    ],
)
def test_windows_are_those_that_the_network_takes(
    change: dict[str, int], fixed: int | None, tile: int, halo: int
) -> None:
    windows = windows_of(Facts(mpp=0.5, **change), fixed)
    assert (windows.tile_px, windows.halo_px) == (tile, halo)
    assert windows.side_px == tile + 2 * halo


@pytest.mark.parametrize(
    ("network", "change", "missing"),
    [
        (darkness(), {"mpp": None, "classes": None}, ("mpp", "classes")),
        (darkness(), {"normalisation": None}, ("normalisation",)),
        (darkness(shape=("n", "c", "h", "w")), {}, ("layout",)),
        (darkness(last="HardSigmoid"), {}, ("meaning",)),
        (
            graph(
                [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])],
                outputs={"y": TensorProto.FLOAT, "z": TensorProto.FLOAT},
            ),
            {},
            ("output",),
        ),
    ],
    ids=["two", "pixels", "layout", "meaning", "output"],
)
def test_what_is_missing_is_asked_for(
    network: onnx.ModelProto,
    change: dict[str, Any],
    missing: tuple[str, ...],
    tmp_path: Path,
    picture: NDArray[np.uint8],
) -> None:
    with pytest.raises(
        MissingFactsError, match=r"does not say all that is needed; add --"
    ) as found:
        made(network, tmp_path, picture, replace(FACTS, **change))
    assert found.value.missing == missing


def test_one_of_several_outputs_is_chosen(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    weights = [weight("w", np.ones((1, 3, 1, 1))), weight("v", -np.ones((1, 3, 1, 1)))]
    nodes = [helper.make_node("Conv", ["x", name], [out]) for name, out in ("wy", "vz")]
    network = graph(nodes, weights, outputs={"y": TensorProto.FLOAT, "z": TensorProto.FLOAT})
    model = made(network, tmp_path, picture, replace(FACTS, output="z"))
    assert (logits(model, picture) < 0).all()


REFUSED = {
    "labels": (
        graph([helper.make_node("ArgMax", ["x"], ["y"], axis=1)], outputs={"y": TensorProto.INT64}),
        {},
        "gives labels .*ArgMax",
    ),
    "a smaller map": (
        graph([helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[4, 4], strides=[4, 4])]),
        {},
        r"gives a map of the shape \(1, 3, 12, 12\) for a window of 48",
    ),
    "four channels": (
        graph([helper.make_node("Neg", ["x"], ["y"])], shape=("n", 4, "h", "w")),
        {"layout": "NCHW"},
        "takes images of 4 channels",
    ),
    "a batch": (darkness(shape=(8, 3, SIDE, SIDE)), {}, "takes 8 images at once"),
    "oblong windows": (darkness(shape=(1, 3, 48, 64)), {}, "takes windows of 48 × 64"),
    "a tile beside a fixed window": (darkness(shape=(1, 3, 64, 64)), {}, "leave it out"),
    "too large windows": (darkness(), {"tile_px": 1024}, "tile_px \\+ 2 halo_px is at most 1024"),
    "odd windows": (
        darkness(shape=(1, 3, 49, 49)),
        {"tile_px": None},
        "expected a multiple of the ratio 2",
    ),
    "names too many": (darkness(), {"classes": ("a", "b")}, "has 1 channel, found 2 names"),
    "names too few": (darkness(3), {}, "has 3 channels, found 1 names"),
    "nothing but background": (darkness(), {"classes": ("background",)}, "name the others"),
    "no probabilities": (darkness(), {"meaning": "sigmoid"}, "take --output logits"),
    "no softmax": (
        darkness(2, last="Sigmoid"),
        {"meaning": "softmax", "classes": ("a", "b")},
        "do not sum to 1",
    ),
    "no such output": (darkness(), {"output": "mask"}, "has no output 'mask'; choose one of y"),
    "infinite values": (
        graph([helper.make_node("Log", ["x"], ["v"]), helper.make_node("Neg", ["v"], ["y"])]),
        {"normalisation": NORMALISATIONS["signed"]},
        "not finite",
    ),
    "pixels of a wrong layout": (
        darkness(),
        {"layout": "NHWC"},
        "windows of 3 pixels leave tiles of -13",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(
    case: str, tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    network, change, words = REFUSED[case]
    with pytest.raises(ModelError) as found:
        made(network, tmp_path, picture, replace(FACTS, **change))
    assert re.search(words, str(found.value)), str(found.value)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "model").exists()


def test_a_card_with_another_convention_is_refused(
    tmp_path: Path, picture: NDArray[np.uint8]
) -> None:
    made(darkness(2), tmp_path, picture, replace(FACTS, classes=("a", "b")))
    card = tmp_path / "model" / "card.json"
    text = card.read_text()
    for old, new in (
        ('"meaning": "logits"', '"meaning": "guess"'),
        ('"margin_px": 0', '"x": 0'),
        ('"background": -1', '"background": 7'),
    ):
        card.write_text(text.replace(old, new))
        with pytest.raises(ModelError, match=r"import (it|the network) again"):
            load_model(tmp_path / "model").refine([picture[:SIDE, :SIDE]])


def test_the_checksum_follows_the_network(tmp_path: Path, picture: NDArray[np.uint8]) -> None:
    first = made(darkness(), tmp_path, picture).bundle
    (tmp_path / "model" / "model.onnx").write_bytes(darkness(gain=9).SerializeToString())
    assert load_model(tmp_path / "model").bundle.sha256 != first.sha256
