"""What a card states of its training images is what was measured on them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.torch import save
from tests.fakes import FakeModel, make_card, noise
from tests.models.random_model import random_module, small_card
from tests.training.tiny_run import CROPS

import napari_twostage as ts
from napari_twostage.cli import main
from napari_twostage.errors import ModelError
from napari_twostage.method.domain import predicted_logit, trait_distances
from napari_twostage.method.features import logit
from napari_twostage.models.bundle import Bundle, read_bundle
from napari_twostage.models.training_domain import FEATURES, TRAITS
from napari_twostage.training.datasets import Sample
from napari_twostage.training.domain import (
    MeasuredImage,
    fit_dice,
    fit_domain,
    left_out_errors,
    measure_images,
    pooled_dice,
)

if TYPE_CHECKING:
    from pathlib import Path


def planted(groups: int = 40, images: int = 12, *, noise_of: float = 0.2) -> list[MeasuredImage]:
    """Images whose Dice's logit is 0.3 + 0.9 · expected - 0.4 · outline, with an error a group."""
    rng = np.random.default_rng(0)
    made = []
    for group in range(groups):
        error, bright = rng.normal(0, noise_of), group % 3 > 0
        for _ in range(images):
            features = rng.normal(0, 1, len(FEATURES))
            features[0] += 1.0
            odds = 0.3 + 0.9 * features[0] - 0.4 * features[3] + error
            dice = 1 / (1 + np.exp(-odds))
            counts = round(5000 * dice), round(10000 * (1 - dice)), 0
            made.append(MeasuredImage("set", f"group {group}", bright, features, counts))
    return made


def balanced_bundle(image: np.ndarray) -> Bundle:
    """Bundle a random model that takes half of an image for objects."""
    card = small_card()
    module = random_module(card)
    with torch.inference_mode():
        logits = module.coarse(torch.from_numpy(image)[None])
        module.stage1.last.bias.sub_(logits.median())
    return Bundle(card, save(module.state_dict()), "balanced")


def test_the_rule_finds_what_the_dice_follows_from() -> None:
    rule = fit_dice(planted(noise_of=0.0))
    assert rule.weights[0] > 0.6
    assert rule.weights[3] < -0.2
    assert max(map(abs, rule.weights[1:3])) < 0.05


def test_the_interval_holds_as_often_as_it_says() -> None:
    images = planted(groups=60)
    domain = fit_domain(images)
    held = [low <= error <= high for low, high in [domain.dice.errors]
            for error in left_out_errors(images).values()]  # fmt: skip
    assert np.mean(held) >= domain.dice.coverage
    fresh = planted(groups=200)[60 * 12 :]
    inside = []
    for start in range(0, len(fresh), 12):
        own = fresh[start : start + 12]
        features = np.mean([image.features for image in own], axis=0)
        error = logit(pooled_dice(own)) - predicted_logit(domain.dice, features)
        inside.append(domain.dice.errors[0] <= error <= domain.dice.errors[1])
    assert 0.8 < np.mean(inside) < 1.0


def test_one_image_in_twenty_is_beyond_a_limit() -> None:
    images = planted()
    domain = fit_domain(images)
    for kind, bright in ((domain.bright_field, True), (domain.dark_field, False)):
        assert kind is not None
        own = [image for image in images if image.bright_field == bright]
        assert kind.images == len(own)
        distances = trait_distances(np.array([image.features for image in own]), kind)
        np.testing.assert_allclose((distances > kind.limits).mean(axis=0), 0.05, atol=0.01)


def test_densities_that_training_drew_are_not_unlike_its_images() -> None:
    images = [
        replace(one, features=np.abs(one.features) + 2, bright_field=True) for one in planted()
    ]
    stained = list(TRAITS).index("stain")
    darker = np.array([one.features for one in images])
    darker[:, np.isin(FEATURES, TRAITS["stain"])] *= 2
    beyond = []
    for density in ((1.0, 1.0), (0.5, 2.0)):
        kind = fit_domain(images, density=density).bright_field
        assert kind is not None
        assert kind.images == len(images)
        beyond.append(np.mean(trait_distances(darker, kind)[:, stained] > kind.limits[stained]))
    assert beyond[0] > 0.9
    assert beyond[1] < 0.3


def test_sets_weigh_the_same_however_many_images_they_have() -> None:
    few = [replace(image, source="few", group=f"few {image.group}") for image in planted(6, 5)]
    moved = [replace(one, features=one.features + 5, bright_field=True) for one in few]
    many = [replace(one, bright_field=True) for one in planted()]
    kind = fit_domain([*many, *moved]).bright_field
    assert kind is not None
    assert kind.mean[5] == pytest.approx(2.5, abs=0.2)


def test_an_interval_needs_groups() -> None:
    with pytest.raises(ModelError, match="add images of other slides"):
        fit_domain(planted(groups=4))


def test_the_dice_is_that_of_the_engines_labels(tmp_path: Path) -> None:
    image, truth = noise(150, 130, blob_px=15), noise(150, 130, seed=3, blob_px=15)[..., 0] > 128
    model = FakeModel(make_card())
    sample = Sample("a.png", image, truth.astype(np.uint8), source="noise")
    (measured,) = measure_images(model, [([sample], ["a slide"])], progress=False)
    seg = ts.segment(
        ts.open_slide(image, mpp=0.5), model, tmp_path / "a.zarr", tissue=False, refine="none"
    )
    labels = seg.read_labels(seg.grid.box) > 0
    assert measured.dice == pytest.approx(2 * (labels & truth).sum() / (labels.sum() + truth.sum()))
    assert measured.group == "noise: a slide"


def test_images_without_a_group_are_grouped_by_kind_and_size() -> None:
    samples = [
        Sample(name, noise(height, 96), np.ones((height, 96), np.uint8), source="noise")
        for name, height in (("a", 96), ("b", 96), ("c", 64))
    ]
    found = measure_images(FakeModel(), [(samples, ["a", "b", "c"])], progress=False)
    groups = [image.group for image in found]
    assert groups[0] == groups[1] == "noise: bright field of 96 × 96"
    assert groups[2] != groups[0]


def test_the_command_adds_to_the_card_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    data, folder = tmp_path / "data", tmp_path / "model"
    (data / "images").mkdir(parents=True)
    (data / "masks").mkdir()
    rows = ["file,split,info"]
    for number in range(16):
        name, pixels = f"{number}.png", noise(64, 64, seed=number)
        Image.fromarray(pixels).save(data / "images" / name)
        Image.fromarray(pixels[..., 0] > 128).save(data / "masks" / name)
        rows.append(f"{name},{'test' if number == 15 else 'train'},slide {number % 5}|x")
    (data / "manifest.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "tiny.toml").write_text(CROPS)
    balanced_bundle(noise(64, 64)).save(folder)
    before = read_bundle(folder)
    words = ["calibrate", str(tmp_path / "tiny.toml"), "--data", str(data), "--model", str(folder)]
    assert main([*words, "--device", "cpu", "--quiet", "--json"]) == 0
    after = read_bundle(folder)
    assert after.card.domain is not None
    assert replace(after.card, domain=None) == before.card
    assert (after.weights, after.sha256) == (before.weights, before.sha256)
    kinds = after.card.domain.bright_field, after.card.domain.dark_field
    assert sum(kind.images for kind in kinds if kind) == 15, "the test split is not used"
    assert json.loads(capsys.readouterr().out)["domain"]["dice"]["groups"] == 5
    assert main(["models", str(folder)]) == 0
    assert "slides are compared with training images, 15 in bright field" in capsys.readouterr().out
