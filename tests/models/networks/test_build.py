"""Networks by name, and what a card may not ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tests.models.random_model import small_card

from napari_twostage.errors import ModelError
from napari_twostage.models.bundle import read_bundle
from napari_twostage.models.networks.build import ARCHITECTURES, build_network, build_two_stage


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_name_builds_a_network_with_the_outputs_asked_for(name: str) -> None:
    with torch.device("meta"):
        network = build_network({"name": name, "outputs": 3})
    assert type(network) is ARCHITECTURES[name]
    assert network.last.out_channels == 3
    assert network.last.in_channels == network.feature_channels


def test_building_leaves_the_card_as_it_was() -> None:
    architecture = {"name": "lite_unet", "widths": [16, 16, 8, 8, 8]}
    before = dict(architecture)
    with torch.device("meta"):
        assert build_network(architecture).feature_channels == 8
    assert architecture == before


@pytest.mark.parametrize(
    ("architecture", "named"),
    [
        ({"name": "transformer"}, "lite_unet, fcn"),
        ({}, "lite_unet, fcn"),
        ({"name": "lite_unet", "depth": 5}, "depth"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(
    architecture: dict[str, object], named: str
) -> None:
    with pytest.raises(ModelError, match=rf"\A[^\n]*{named}[^\n]*\Z"):
        build_network(architecture)


def test_a_window_that_stage_2_cannot_halve_is_refused() -> None:
    card = small_card(ratio=4, fine_ratio=2, halo_px=32)
    with torch.device("meta"):
        assert build_two_stage(replace(card, fine_ratio=1)).fine_ratio == 1
        with pytest.raises(ModelError, match=r"expected .* to be a multiple of 64, found 96"):
            build_two_stage(card)
        with pytest.raises(ModelError, match=r"coarse_window_px to be a multiple of 32, found 80"):
            build_two_stage(replace(card, fine_ratio=1, coarse_window_px=80))


def test_the_second_stage_may_be_wider() -> None:
    card = read_bundle("nuclei").card
    narrow = {"name": "lite_unet", "widths": [16, 16, 16, 16, 8]}
    with torch.device("meta"):
        module = build_two_stage(replace(card, architecture=narrow, fine_architecture=None))
        assert module.stage1.feature_channels == module.stage2.feature_channels == 8
        wider = {"architecture": narrow, "fine_architecture": {"name": "lite_unet"}}
        module = build_two_stage(replace(card, **wider))
        assert (module.stage1.feature_channels, module.stage2.feature_channels) == (8, 16)
