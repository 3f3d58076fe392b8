"""The paper's networks: their sizes, their shapes, and what they start from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models as zoo

from napari_twostage.errors import ModelError
from napari_twostage.models.cost import count_parameters
from napari_twostage.models.networks.resnet import FCN, DeepLabV3, Network, SegNet, UNet

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

BUILDERS: dict[str, Callable[[int], Network]] = {
    "FCN": FCN,
    "DeepLabV3": DeepLabV3,
    "UNet": UNet,
    "SegNet": SegNet,
    "UNet-18": lambda classes: UNet(classes, backbone="resnet18"),
    "SegNet-18": lambda classes: SegNet(classes, backbone="resnet18"),
    "FCN-quarter": lambda classes: FCN(classes, width=0.25),
    "DeepLabV3-quarter": lambda classes: DeepLabV3(classes, width=0.25),
    "UNet-quarter": lambda classes: UNet(classes, width=0.25),
    "SegNet-quarter": lambda classes: SegNet(classes, width=0.25),
}


def shapes_only(build: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with torch.device("meta"):
        return build(*args, **options).eval()


def recognisable(module: torch.nn.Module) -> dict[str, Tensor]:
    """Give each tensor of a network a value of its own; expanded, so its file is small."""
    return {
        name: torch.tensor(index, dtype=tensor.dtype).expand(tensor.shape)
        for index, (name, tensor) in enumerate(module.state_dict().items(), start=1)
    }


def torchvision_fcn() -> torch.nn.Module:
    return zoo.segmentation.fcn_resnet50(weights_backbone=None, num_classes=21, aux_loss=True)


@pytest.mark.parametrize(
    ("build", "options", "millions"),
    [
        (DeepLabV3, {"aux": True}, "42.0"),
        (FCN, {"aux": True}, "35.3"),
        (UNet, {}, "73.4"),
        (SegNet, {}, "48.4"),
    ],
)
def test_networks_have_the_papers_parameters(
    build: Callable[..., Network], options: dict[str, bool], millions: str
) -> None:
    assert f"{count_parameters(shapes_only(build, **options)) / 1e6:.1f}" == millions


@pytest.mark.parametrize(
    ("build", "channels", "stride"),
    [(FCN, 512, 8), (DeepLabV3, 256, 8), (UNet, 32, 32), (SegNet, 32, 32)],
)
def test_the_penultimate_layer_is_the_papers(
    build: Callable[..., Network], channels: int, stride: int
) -> None:
    network = shapes_only(build)
    assert (network.feature_channels, network.stride) == (channels, stride)
    assert network.last.weight.shape == (1, channels, 3, 3)


@pytest.mark.parametrize("build", [FCN, DeepLabV3, UNet, SegNet])
def test_a_width_takes_its_share_of_every_layer(build: Callable[..., Network]) -> None:
    whole, half = shapes_only(build), shapes_only(build, width=0.5)
    assert half.feature_channels == whole.feature_channels // 2
    assert half.last.weight.shape == (1, half.feature_channels, 3, 3)
    # Nearly all parameters lie between two layers that are both narrowed.
    assert count_parameters(half) / count_parameters(whole) == pytest.approx(0.25, abs=0.003)
    shapes = [
        [tuple(tensor.shape) for tensor in network.state_dict().values()]
        for network in (whole, shapes_only(build, width=1.0))
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("width", [0.0, -0.5, 1.5])
@pytest.mark.parametrize("build", [DeepLabV3, UNet])
def test_a_width_out_of_range_is_refused(build: Callable[..., Network], width: float) -> None:
    with pytest.raises(ModelError, match=rf"expected a width above 0, .* found {width}"):
        build(width=width)


def test_published_weights_do_not_fit_a_narrow_network(tmp_path: Path) -> None:
    torch.save(recognisable(zoo.resnet50()), tmp_path / "resnet50.pth")
    with pytest.raises(ModelError, match=r"resnet50\.pth"):
        UNet(width=0.5, weights=tmp_path / "resnet50.pth")


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("shape", [(48, 48), (49, 83), (97, 65), (192, 50)])
@pytest.mark.parametrize("name", BUILDERS)
def test_features_and_logits_lie_on_the_input_grid(
    name: str, shape: tuple[int, int], classes: int
) -> None:
    network = shapes_only(BUILDERS[name], classes)
    images = torch.empty((2, 3, *shape), device="meta")
    features = network.features(images)
    assert features.shape == (2, network.feature_channels, *shape)
    assert network.classify(features).shape == (2, classes, *shape)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_network_is_its_features_classified(name: str) -> None:
    torch.manual_seed(0)
    network = BUILDERS[name](2).eval()
    images = torch.rand(1, 3, 51, 48)
    with torch.inference_mode():
        logits = network(images)
        assert logits.std() > 0
        torch.testing.assert_close(logits, network.classify(network.features(images)))


def test_the_auxiliary_head_changes_no_output() -> None:
    torch.manual_seed(0)
    with_aux = FCN(aux=True).eval()
    without = FCN().eval()
    shared = {k: v for k, v in with_aux.state_dict().items() if not k.startswith("aux.")}
    without.load_state_dict(shared)
    images = torch.rand(1, 3, 48, 48)
    with torch.inference_mode():
        torch.testing.assert_close(with_aux(images), without(images), rtol=0, atol=0)


@pytest.mark.parametrize("build", [UNet, SegNet])
def test_pixels_stay_in_place_at_sizes_that_do_not_divide(
    build: Callable[..., Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through convolutions that pass their first channel on, pixel j shows deep pixel j // 32."""
    network = build(backbone="resnet18").eval()
    for conv in network.decoder:
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
        conv.weight.data[0, 0, 1, 1] = 1
    images = torch.zeros(1, 3, 65, 417)
    with torch.inference_mode():
        *skips, deepest = network.encode(images)
        columns = torch.arange(deepest.shape[-1], dtype=torch.float32).expand_as(deepest)
        monkeypatch.setattr(network, "encode", lambda _: [*skips, columns])
        features = network.features(images)
    expected = (torch.arange(417) // 32).float().expand(65, 417)
    torch.testing.assert_close(features[0, 0], expected, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("build", [UNet, SegNet])
def test_an_encoder_starts_from_a_local_file(
    build: Callable[..., Network], suffix: str, tmp_path: Path
) -> None:
    state = recognisable(zoo.resnet18())
    file = tmp_path / f"resnet{suffix}"
    if suffix == ".pth":
        torch.save(state, file)
    else:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)

    encoder = build(backbone="resnet18", weights=file).encoder.state_dict()

    assert set(encoder) == {name for name in state if not name.startswith("fc.")}
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.items())


@pytest.mark.parametrize("aux", [False, True])
def test_a_dilated_network_starts_from_torchvisions_whole_network(
    aux: bool, tmp_path: Path
) -> None:
    state = recognisable(torchvision_fcn())
    torch.save(state, tmp_path / "fcn.pth")

    network = FCN(3, weights=tmp_path / "fcn.pth", aux=aux)

    names = {"backbone": "backbone", "head": "classifier", "aux": "aux_classifier"}
    for name, tensor in network.state_dict().items():
        part, rest = name.split(".", 1)
        if part in names:
            assert torch.equal(tensor, state[f"{names[part]}.{rest}"]), name
    assert any(name.startswith("aux.") for name in network.state_dict()) is aux
    assert network.last.weight.std() > 0, "the last convolution is new"


def test_a_dilated_network_starts_from_an_encoder_alone(tmp_path: Path) -> None:
    state = recognisable(zoo.resnet50())
    torch.save(state, tmp_path / "resnet50.pth")
    network = DeepLabV3(weights=tmp_path / "resnet50.pth")
    backbone = network.backbone.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbone.items())
    assert len(backbone) == len(state) - 2, "all but the last layer's weight and bias"


@pytest.mark.parametrize(
    ("file", "published", "load"),
    [
        (
            "resnet18-f37072fd.pth",
            zoo.resnet18,
            lambda: UNet(backbone="resnet18", weights="imagenet"),
        ),
        ("resnet50-11ad3fa6.pth", zoo.resnet50, lambda: SegNet(weights="imagenet")),
        ("fcn_resnet50_coco-1167a1af.pth", torchvision_fcn, lambda: FCN(weights="coco")),
        (
            "deeplabv3_resnet50_coco-cd0a2569.pth",
            lambda: zoo.segmentation.deeplabv3_resnet50(weights_backbone=None, aux_loss=True),
            lambda: DeepLabV3(weights="coco"),
        ),
    ],
)
def test_named_weights_are_those_torchvision_publishes(
    file: str,
    published: Callable[[], torch.nn.Module],
    load: Callable[[], Network],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What lies in torch's download folder under the published name is taken from there."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    state = recognisable(published())
    torch.save(state, tmp_path / "hub" / "checkpoints" / file)
    network = load()
    prefix = "backbone." if "backbone.conv1.weight" in state else ""
    encoder = network.backbone if prefix else network.encoder
    assert torch.equal(encoder.state_dict()["conv1.weight"], state[f"{prefix}conv1.weight"])


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    torch.save(recognisable(zoo.resnet18()), tmp_path / "resnet18.pth")
    with pytest.raises(ModelError, match=r"found another's in .*resnet18\.pth"):
        UNet(weights=tmp_path / "resnet18.pth")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ModelError, match=re.escape("named coco or imagenet, or a file")):
        FCN(weights="voc")
    with pytest.raises(ModelError, match=re.escape("named imagenet, or a file")):
        UNet(backbone="resnet18", weights="coco")
    with pytest.raises(ModelError, match=r"resnet18, resnet50, found 'vgg16'"):
        UNet(backbone="vgg16")
