"""The part of a card that describes the training images: kept, compact, and checked."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.fakes import make_card
from tests.method.domains import make_domain

from napari_twostage.errors import ModelError
from napari_twostage.models.bundle import Bundle
from napari_twostage.models.card import ModelCard
from napari_twostage.models.training_domain import FEATURES


@pytest.mark.parametrize("dark", [True, False])
def test_a_card_keeps_it(*, dark: bool) -> None:
    card = make_card(domain=make_domain(dark=dark))
    text = card.to_json()
    assert ModelCard.from_json(text, "here") == card
    assert len(text) < 50_000


def test_a_card_without_it_is_written_as_before() -> None:
    assert "domain" not in json.loads(make_card().to_json())


def test_a_result_can_be_gone_on_with_after_a_model_was_calibrated() -> None:
    before, after = make_card(), make_card(domain=make_domain())
    assert Bundle(before, b"", "here").sha256 == Bundle(after, b"", "here").sha256


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("features",), ["colour"], "napari-twostage calibrate"),
        (("bright_field", "mean"), [0.0], "12 means"),
        (("bright_field", "mean"), [float("nan"), *[0.0] * 11], "12 means"),
        (("bright_field", "mean"), [True, *[0.0] * 11], "12 means"),
        (("bright_field", "mean"), "a text", "12 means"),
        (("dark_field", "spread"), [0.0] * 12, "above 0"),
        (("dark_field", "limits"), [1.0, 1.0, 1.0, -1.0], "above 0"),
        (("dark_field", "limits"), [], "above 0"),
        (("dark_field", "quality"), [0.0, 0.0], "deviation above 0"),
        (("dark_field", "images"), 0, "1 or more"),
        (("dark_field", "groups"), 1.5, "1 or more"),
        (("dark_field",), {"images": 3}, "no usable model card"),
        (("dark_field",), 3, "no usable model card"),
        (("dice", "weights"), [1.0] * 5, "confidence feature"),
        (("dice", "weights"), [1e9] * 4, "confidence feature"),
        (("dice", "weights"), [-0.1, 0.0, 0.0, 0.0], "does not fall"),
        (("dice", "intercept"), None, "intercept"),
        (("dice", "errors"), [0.2, -0.2], "smaller one first"),
        (("dice", "coverage"), 1.0, "between 0 and 1"),
        (("dice", "groups"), 0, "1 or more"),
        (("dice", "unknown"), 0, "no usable model card"),
        (("unknown",), 0, "no usable model card"),
    ],
)
def test_what_breaks_a_rule_is_refused(path: tuple[str, ...], value: Any, reason: str) -> None:
    values = json.loads(make_card(domain=make_domain()).to_json())
    part = values["domain"]
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    with pytest.raises(ModelError, match=reason) as refused:
        ModelCard.from_json(json.dumps(values), "here")
    assert "\n" not in str(refused.value)


def test_features_are_named_in_the_order_that_they_are_in() -> None:
    assert make_domain().features == FEATURES
    with pytest.raises(ModelError):
        replace(make_domain(), features=FEATURES[::-1])
