"""``napari-twostage import``, from a U-Net of segmentation_models_pytorch to labels of a slide."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from tests.models.onnx_graphs import darkness

import napari_twostage as ts
from napari_twostage.cli import main
from napari_twostage.engine.segmentation import Segmentation
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
FACTS = ["--mpp", "0.5", "--classes", "dark", "--pixels", "0-1", "--tile", "64", "--halo", "16"]
TILE = (1408, 896, 128, 128)
"""Tissue of the sample slide, a tile of 128 pixels."""
TOLERANCE = 1e-4
"""Difference of logits between libraries."""


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    """U-Net as it is before training: its statistics are those of an image, so logits differ."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of libraries that it imports
        import segmentation_models_pytorch as smp
    torch.manual_seed(0)
    network: torch.nn.Module = smp.Unet("mobilenet_v2", encoder_weights=None, classes=2)
    with torch.inference_mode():
        for _ in range(3):
            network(torch.rand(2, 3, 128, 128) * 4 - 2)
    return network.eval()


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    """A small ONNX file."""
    onnx.save(darkness(size=3, pad=1), tmp_path / "dark.onnx")
    return tmp_path / "dark.onnx"


def export(network: torch.nn.Module, path: Path) -> None:
    axes = {"image": {0: "n", 2: "height", 3: "width"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's, on itself
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, 128, 128),),
            path,
            input_names=["image"],
            dynamic_axes=axes,
            dynamo=False,
        )


def in_torch(network: torch.nn.Module, window: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network itself gives for a window: (2, H, W)."""
    mean, std = (np.array(one, np.float32) for one in IMAGENET)
    pixels = (window.astype(np.float32) / 255 - mean) / std
    with torch.inference_mode():
        return network(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0].numpy()


def balance(network: Any, window: NDArray[np.uint8]) -> None:
    """Let a network find either class in half of a window."""
    background, nucleus = in_torch(network, window)
    with torch.inference_mode():
        network.segmentation_head[0].bias[1] -= float(np.median(nucleus - background))


def test_a_unet_of_another_library_segments_a_slide_as_it_does_itself(
    unet: torch.nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    box = ts.Box.at(*TILE)
    with ts.open_slide(sample_slide()) as slide:
        window = slide.read(box.grow(32))
    balance(unet, window)
    export(unet, tmp_path / "unet.onnx")
    words = ["--mpp", "0.5", "--classes", "background,nucleus", "--pixels", "imagenet"]
    sizes = ["--tile", "128", "--halo", "32"]
    model = tmp_path / "unet"
    given = ["import", tmp_path / "unet.onnx", "--out", model, *words, *sizes, "--json"]
    assert main([*map(str, given)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["window_px"], told["architecture"]["meaning"]) == (192, "logits")

    out = tmp_path / "out.twostage.zarr"
    region = ",".join(map(str, TILE))
    given = ["segment", sample_slide(), "--model", model, "--out", out, "--region", region]
    assert main([*map(str, given), "--refine", "all", "--quiet", "--no-tissue"]) == 0
    expected = in_torch(unet, window)[:, 32:-32, 32:-32]
    found = ts.load_model(model).refine([window])[0, 0]
    np.testing.assert_allclose(found, expected[1] - expected[0], atol=TOLERANCE)
    labels = Segmentation.open(out).read_labels(box)
    certain = np.abs(expected[1] - expected[0]) > TOLERANCE
    assert certain.mean() > 0.99
    assert 0.01 < labels.mean() < 0.99
    np.testing.assert_array_equal(labels[certain], (expected[1] > expected[0])[certain])


def test_importing_and_running_need_no_torch(dark: Path, tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules.update(dict.fromkeys(("torch", "onnx")))
from napari_twostage.cli import main
from napari_twostage.engine.segmentation import Segmentation
assert main({["import", str(dark), "--out", str(tmp_path / "model"), *FACTS]}) == 0
import numpy as np
import napari_twostage as ts
slide = ts.open_slide(np.tile(np.arange(256, dtype=np.uint8)[:, None, None], (1, 256, 3)), mpp=0.5)
seg = ts.segment(slide, {str(tmp_path / "model")!r}, {str(tmp_path / "out")!r}, tissue=False)
labels = seg.read_labels(seg.grid.box)
assert labels[:100].all() and not labels[156:].any()
assert seg.record.runs[-1].compute["backend"] == "openvino", seg.record.runs
assert "calibrated" in seg.plan(fraction=0.5).no_dice
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_package_states_what_the_command_need_not(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    onnx.save(darkness(2), folder / "weights.onnx")
    space = {"type": "space", "size": {"min": 48, "step": 16}, "scale": 0.5, "unit": "micrometer"}
    names = {"type": "channel", "channel_names": ["background", "dark"]}
    description: dict[str, Any] = {
        "format_version": "0.5.3",
        "name": "Dark things",
        "license": "MIT",
        "inputs": [{"id": "x", "axes": [{"id": "y", **space}, {"id": "x", **space}]}],
        "outputs": [{"id": "y", "axes": [names, {"id": "y", "type": "space", "halo": 12}]}],
        "weights": {"onnx": {"source": "weights.onnx"}},
    }
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description))
    assert main(["import", str(folder), "--out", str(tmp_path / "model")]) == 0
    card = ts.load_model(tmp_path / "model").card
    assert (card.name, card.licence, card.fine_mpp) == ("Dark things", "MIT", 0.5)
    assert (card.halo_px, card.window_px) == (12, 48 + 15 * 16)


def test_the_threshold_may_be_chosen_on_a_slide(
    dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, slide = tmp_path / "model", ["--calibrate", sample_slide()]
    assert "go together" in refused(capsys, dark, "--out", out, *FACTS, *slide)
    region = ["--region", "1400,800,384,384", "--json", "--quiet"]
    assert main(["import", str(dark), "--out", str(out), *FACTS, *map(str, slide), *region]) == 0
    told = json.loads(capsys.readouterr().out)
    card = ts.load_model(out).card
    assert card.default_threshold == told["threshold"] != 0.15
    assert "the stages agree with Dice 0." in card.metrics["threshold"]
    assert sample_slide().name in card.metrics["threshold"]


def test_missing_facts_are_named_with_their_flags(
    dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, dark, "--out", tmp_path / "model", "--mpp", "0.5")
    assert "--classes" in said
    assert "--pixels" in said
    assert "--mpp" not in said
    assert not (tmp_path / "model").exists()


def test_a_terminal_is_asked_until_it_answers(
    dark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal("half\n0.25\ndark\n0 to 1\n0-1\n"))
    assert main(["import", str(dark), "--out", str(tmp_path / "model")]) == 0
    card = ts.load_model(tmp_path / "model").card
    assert (card.fine_mpp, card.ratio, card.std) == (0.25, 4, (1, 1, 1))
    assert [entry.name for entry in card.classes] == ["dark"]
    monkeypatch.setattr(sys, "stdin", Terminal("0.25\n"))
    assert main(["import", str(dark), "--out", str(tmp_path / "other")]) == 2


def test_what_cannot_be_imported_ends_in_one_line(
    dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(dark.read_bytes()[:200])
    out = ["--out", tmp_path / "model"]
    assert "cut short" in refused(capsys, damaged, *out, *FACTS)
    assert "no file" in refused(capsys, tmp_path / "none.onnx", *out, *FACTS)
    assert "neither an ONNX file" in refused(capsys, sample_slide(), *out, *FACTS)
    assert "is there already" in refused(capsys, dark, "--out", tmp_path, *FACTS)
    assert "--mean and --std" in refused(capsys, dark, *out, *FACTS, "--mean", "0.5")
    assert "onnxruntime" in refused(capsys, dark, *out, *FACTS, "--device", "cuda")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("verb", ["convert", "quantise"])
def test_an_imported_network_is_used_as_it_is(
    verb: str, dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(tmp_path / "model")
    assert main(["import", str(dark), "--out", model, *FACTS]) == 0
    assert main(["models", model]) == 0
    assert "ONNX, 0.0 MB, both stages" in capsys.readouterr().out
    words = {"convert": [model], "quantise": ["--model", model, str(sample_slide())]}
    assert main([verb, *words[verb]]) == 2
    assert "neither converted nor quantised" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["--mpp", "0"], ["--mpp", "inf"], ["--classes", "a,,b"], ["--mean", "1,2"], ["--tile", "-8"]],
)
def test_words_that_mean_nothing_are_refused(
    words: list[str], dark: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["import", str(dark), "--out", str(tmp_path / "model"), *words])
    assert left.value.code == 2
    assert "expected" in capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """One line that an import ends with."""
    assert main(["import", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said
