"""Verbs of training: the example that the wheel holds, and what is said where libraries lack."""

from __future__ import annotations

import importlib.util
import tomllib
from typing import TYPE_CHECKING

import pytest
import torch

from napari_twostage.cli import main, training_verbs
from napari_twostage.models.networks.build import build_two_stage
from napari_twostage.training.calibrate import draft_card
from napari_twostage.training.config import load_config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_example_is_a_configuration_in_any_encoding_that_a_shell_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "--example"])
    assert left.value.code == 0
    text = capsys.readouterr().out
    assert text.isascii()  # as any console shows it
    assert tomllib.loads(text)["card"]["name"] == "own"
    (tmp_path / "own.toml").write_text(text, encoding=encoding)
    config = load_config(tmp_path / "own.toml")
    with torch.device("meta"):
        build_two_stage(draft_card(config, tmp_path))


@pytest.mark.parametrize(
    ("verb", "library"), [("train", "torch"), ("quantise", "nncf"), ("precision", "PIL")]
)
def test_a_missing_library_is_said_in_one_line(
    verb: str,
    library: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        training_verbs,
        "find_spec",
        lambda name: None if name == library else importlib.util.find_spec(name),
    )
    words = {
        "train": ["own.toml", "--data", str(tmp_path), "--out", str(tmp_path)],
        "quantise": ["--model", str(tmp_path), "slide.svs"],
        "precision": ["--data", str(tmp_path), "--out", str(tmp_path)],
    }
    assert main([verb, *words[verb]]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert library in said
    assert "pip install 'napari-twostage[train]'" in said
