"""Variants of a run: trained, measured on held-out images and on sets that none was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from tests.training.make_dataset import make_dataset
from tests.training.tiny_run import CROPS

from napari_twostage.training.evaluation.object_quality import total
from training.ablation import load_ablation, main, measure

STUDIES = Path(__file__).parents[2] / "training" / "studies" / "ablations"
STUDY = """
name = "tiny"
config = "tiny.toml"
outside = ["other=0.5"]
changes = { "kind" = "single", "stage1.steps" = 3 }
variants = [
    { name = "all" },
    { name = "boundary", changes = { "network.objects" = "boundary" } },
    { name = "never run", changes = { "stage1.steps" = 9 } },
]
"""


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    sets = 'mpp = 0.5\nsets = [{ folder = "own", mpp = 0.5 }]\nvalidation_fraction = 0.34'
    text = CROPS.replace("validation_fraction = 0.34", sets)
    text = text.replace("ratio = 2", 'ratio = 2\nobjects = "distance"').replace("true", "false")
    (tmp_path / "tiny.toml").write_text(text)
    (tmp_path / "study.toml").write_text(STUDY)
    for name in ("own", "other"):
        folder = make_dataset(tmp_path / "data" / name)
        (folder / "instances").mkdir()
        for path in (folder / "masks").iterdir():
            numbers = ndimage.label(np.asarray(Image.open(path)))[0]
            Image.fromarray(numbers.astype(np.uint16)).save(folder / "instances" / path.name)
    folders = {"--data": "data", "--runs": "runs", "--out": "out"}
    listed = [word for name, at in folders.items() for word in (name, str(tmp_path / at))]
    return [str(tmp_path / "study.toml"), *listed]


def test_variants_are_trained_and_measured_on_each_set(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = load_ablation(tmp_path / "study.toml")
    trials = study.trials(tmp_path / "data", tmp_path / "runs")
    for trial in trials[:2]:
        trial.train("cpu")
    assert trials[1].config.network.objects == "boundary"
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "Not run: never run." in said

    found = measure(trials[1], study)
    sizes: dict[str, int] = {}
    for name, images in found.items():
        folder = name.split(",")[0]
        sizes[folder] = sizes.get(folder, 0) + len(images)
    assert sizes == {"own": 1, "other": 4}
    header, row = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in said.splitlines()
        if line.startswith(("| variant", "| boundary"))
    )
    assert header[1:] == list(found)
    for name, cell in zip(found, row[1:], strict=True):
        mean, f1 = (float(part) for part in cell.split("/"))
        assert mean == pytest.approx(100 * np.mean([one.dice for one in found[name]]), abs=0.06)
        assert f1 == pytest.approx(100 * total([one.objects for one in found[name]]).f1, abs=0.06)


def test_images_are_measured_as_the_network_labels_them(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_ablation(Path(words[0]))
    trial = study.trials(tmp_path / "data", tmp_path / "runs")[0]
    trial.train("cpu")

    def truth(_: object, image: np.ndarray, halo_px: int) -> np.ndarray:
        assert halo_px == trial.config.stage1.halo_px
        bright = image.mean(axis=-1) > 120
        return np.where(np.stack([bright, bright]), 9.0, -9.0).astype(np.float32)

    monkeypatch.setattr("training.ablation.predict_whole", truth)
    for images in measure(trial, study).values():
        for image in images:
            assert image.dice > 0.99
            assert image.objects is not None
            assert image.objects.f1 == 1


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_committed_studies_can_be_read(path: Path) -> None:
    study = load_ablation(path)
    trials = study.trials(Path("data"), Path("runs"))
    assert len(trials) == len(study.variants) * study.seeds
    assert len({repr(trial.config) for trial in trials}) == len(trials)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("tiny.toml", "none.toml", "none.toml"),
        ('"boundary", ch', '"all", ch', "names of their own"),
        ("stage1.steps", "stage1.stepz", "stepz"),
    ],
)
def test_a_wrong_study_is_one_line(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    expected: str,
) -> None:
    (tmp_path / "study.toml").write_text(STUDY.replace(old, new))
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert expected in said
