"""Configurations: the shipped ones load, faulty ones are refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.config import ConfigError, load_config

CONFIGS = Path(__file__).parents[2] / "training" / "configs"

GOOD = """
kind = "single"
seed = 0
[data]
[network]
architecture = "lite_unet"
ratio = 1
context = false
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
    "a missing key": ("steps = 4", ""),
    "a missing section": ("[data]", ""),
    "an unknown section": ("[data]", "[data]\n[date]"),
}


@pytest.mark.parametrize("name", ["nuclei", "nuclei_dense"])
def test_shipped_configurations_load(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    assert (config.stage2 is None) == (config.kind == "single")
    assert len(config.network.mean) == 3


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
