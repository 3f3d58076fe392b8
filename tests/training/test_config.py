"""Configurations: the shipped ones load, faulty ones are refused in one line."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from napari_twostage.models.networks.build import build_two_stage
from napari_twostage.training.calibrate import draft_card
from napari_twostage.training.config import ConfigError, load_config
from napari_twostage.training.run.networks import build_initial_networks

CONFIGS = Path(__file__).parents[2] / "training" / "configs"

GOOD = """
kind = "single"
seed = 0
[data]
[network]
architecture = "lite_unet"
ratio = 1
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
[stage1]
steps = 4
batch = 2
crop_px = 64
learning_rate = 1e-3
"""
FAULTS = {
    "no TOML": ("kind", "= ="),
    "an unknown kind": ('"single"', '"triple"'),
    "two stages without the second": ('"single"', '"two_stage"'),
    "an unknown key": ("seed", "sead"),
    "an unknown key of a section": ("ratio = 1", "ration = 1"),
    "a missing key": ("batch = 2", ""),
    "a missing section": ("[network]", "[loss]\nname = 'focal'\n[data.x]"),
    "an unknown section": ("[data]", "[data]\n[date]"),
    "a value in place of a section": ("[data]", "data = 3"),
    "a section in place of a value": ("batch = 2", "[stage1.batch]"),
    "neither steps nor epochs": ("steps = 4", ""),
    "steps and epochs": ("steps = 4", "steps = 4\nepochs = 4"),
    "epochs of crops": ("steps = 4", "epochs = 4"),
    "no crops": ("crop_px = 64", ""),
    "crops that do not coarsen": ("ratio = 1", "ratio = 3"),
    "a word for a number": ("batch = 2", 'batch = "two"'),
    "a fraction for a count": ("batch = 2", "batch = 2.5"),
    "a truth for a number": ("learning_rate = 1e-3", "learning_rate = true"),
    "a second stage at no resolution": ("ratio = 1", "ratio = 1\nfine_ratio = 0"),
    "a wider second stage that takes over the first": ("ratio = 1", "ratio = 1\nfine_options = {}"),
    "context without whole images": ("ratio = 1", "ratio = 1\ncontext = true"),
    "too few channels": ("mean = [0.5, 0.5, 0.5]", "mean = [0.5, 0.5]"),
    "an impossible value": ("batch = 2", "batch = 0"),
    "an unknown choice": ("batch = 2", 'batch = 2\noptimiser = "sgd"'),
    "a class without a name": ("[data]", "[data]\nclasses = [{color = '#ffffff'}]"),
}
SHIPPED = sorted(path.stem for path in CONFIGS.glob("*.toml"))


def test_all_families_are_shipped() -> None:
    papers = {"paper", "paper_small", "paper_text", "paper_text_small"}
    assert set(SHIPPED) >= papers | {"nuclei", "nuclei_dense"}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_load(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    assert (config.stage2 is None) == (config.kind != "two_stage")
    assert len(config.network.mean) == 3
    if config.card is not None:
        with torch.device("meta"):
            build_two_stage(draft_card(config, Path("data")))


@pytest.mark.parametrize("architecture", ["fcn", "deeplabv3", "unet", "segnet"])
@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("paper")])
def test_the_papers_configurations_build_each_architecture(name: str, architecture: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml", [f"network.architecture={architecture}"])
    with torch.device("meta"):
        module = build_initial_networks(config, weights="random")
    assert module.stage1.last.out_channels == 1
    assert module.ratio == 4


def test_what_ran_and_what_the_text_says_differ_where_they_are_known_to() -> None:
    ran, text = (asdict(load_config(CONFIGS / f"{name}.toml")) for name in ("paper", "paper_text"))
    differences = {
        f"{section}.{key}"
        for section, values in ran.items()
        if isinstance(values, dict)
        for key, value in values.items()
        if value != text[section][key]
    }
    assert differences == {
        "network.weights",
        "whole_images.contrast",
        "whole_images.rotation_degrees",
        "tiles.uncertainty",
    }


@pytest.mark.parametrize("name", ["paper", "paper_text"])
def test_full_scale_is_the_papers(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    assert config.whole_images is not None
    assert config.whole_images.size_px == 768
    assert (config.loss.name, config.loss.alpha, config.loss.gamma) == ("focal", 0.25, 2)
    for stage in (config.stage1, config.stage2):
        assert stage is not None
        assert (stage.epochs, stage.batch, stage.optimiser) == (20, 8, "adam")
        assert (stage.learning_rate, stage.weight_decay, stage.schedule) == (1e-4, 0, "constant")
        assert stage.count_steps(399) == 998


def test_windows_of_stage_2_show_nothing_of_the_rim_that_crops_leave_unlearnt() -> None:
    path, changes = CONFIGS / "fungi.toml", ["stage2.crop_px=192", "stage2.halo_px=32"]
    with pytest.raises(ConfigError, match=r"card.halo_px must be stage2.halo_px or more"):
        load_config(path, changes)
    assert load_config(path, [*changes, "card.halo_px=32"]).card is not None


def test_changes_stand_in_for_the_files_values(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    changes = ["network.architecture=unet", "stage1.batch=3", "whole_images.size_px=96"]
    config = load_config(path, changes)
    assert config.network.architecture == "unet"
    assert config.stage1.batch == 3
    assert config.whole_images is not None
    assert config.whole_images.size_px == 96


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_configuration_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load_config(path).kind == "single"
    path.write_text(GOOD.replace(*FAULTS[fault], 1))
    with pytest.raises(ConfigError, match=r"mine\.toml") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml"):
        load_config(tmp_path / "nothing.toml")
