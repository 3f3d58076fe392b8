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
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
FACTS = ["--mpp", "0.5", "--classes", "dark", "--pixels", "0-1", "--tile", "64", "--halo", "16"]
CORNER = (1400, 800, 320, 320)
"""Tissue of the sample slide."""


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


def test_a_unet_of_another_library_segments_a_slide_as_it_does_itself(
    unet: torch.nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(unet, tmp_path / "unet.onnx")
    words = ["--mpp", "0.5", "--classes", "background,nucleus", "--pixels", "imagenet"]
    sizes = ["--tile", "128", "--halo", "32"]
    model = tmp_path / "unet"
    given = ["import", tmp_path / "unet.onnx", "--out", model, *words, *sizes, "--json"]
    assert main([*map(str, given)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["window_px"], told["architecture"]["meaning"]) == (192, "logits")

    out = tmp_path / "out.twostage.zarr"
    region = ",".join(map(str, CORNER))
    given = ["segment", sample_slide(), "--model", model, "--out", out, "--region", region]
    assert main([*map(str, given), "--refine", "all", "--quiet", "--no-tissue"]) in (0, 1)
    seg = ts.Segmentation_of(out) if False else None
    del seg


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """One line that an import ends with."""
    assert main(["import", *map(str, words)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said
