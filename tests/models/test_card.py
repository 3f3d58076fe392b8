"""Model cards: what goes out comes back, what breaks a rule is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import get_args

import pytest
from tests.fakes import CLASSES, make_card

from napari_twostage.errors import ModelError
from napari_twostage.method.uncertainty import GAIN, MEASURES
from napari_twostage.models.card import LabelClass, ModelCard, Uncertainty

BROKEN = {
    "a loss of float32 itself": {"precision_loss": {"f32": 0.0}},
    "a loss in words": {"precision_loss": {"bf16": "none"}},
    "a loss that is no number": {"precision_loss": {"bf16": float("nan")}},
    "a loss of more than all": {"precision_loss": {"int8": 101}},
    "no class": {"classes": ()},
    "values that do not count from 1": {"classes": (LabelClass("a", "#000000", 2),)},
    "a colour by name": {"classes": (LabelClass("a", "red", 1),)},
    "a colour of seven digits": {"classes": (LabelClass("a", "#1234567", 1),)},
    "a ratio of 0": {"ratio": 0},
    "a ratio of 3": {"ratio": 3, "tile_px": 18, "halo_px": 3, "coarse_window_px": 10},
    "tiles of 0": {"tile_px": 0},
    "tiles smaller than the ratio": {"tile_px": 2},
    "tiles that the ratio does not divide": {"tile_px": 18},
    "a halo that the ratio does not divide": {"halo_px": 6},
    "a negative halo": {"halo_px": -4},
    "windows that tiles do not fill": {"coarse_window_px": 11},
    "windows that are all halo": {"coarse_window_px": 4},
    "a range without the pixel size": {"mpp_range": (0.6, 0.8)},
    "a range from 0": {"mpp_range": (0.0, 0.8)},
    "a temperature of 0": {"temperature": 0.0},
    "a gain above 1": {"refinement_gain": 1.5},
    "a negative gain": {"refinement_gain": -0.1},
    "an uncertainty without its output": {"uncertainty": "gain"},
    "a gain of a refiner": {"gain_output": True, "refiner": {}},
}


def test_a_card_survives_json() -> None:
    card = make_card(classes=CLASSES, temperature=1.25, metrics={"dice": {"coarse": 0.8}})
    again = ModelCard.from_json(card.to_json(), "here")
    assert again == card
    assert asdict(again) == asdict(card)


def test_sizes_in_coarse_pixels_and_channels_follow() -> None:
    card = make_card()
    assert (card.coarse_tile_px, card.coarse_core_px, card.outputs) == (4, 8, 1)
    assert make_card(classes=CLASSES).outputs == 3


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_rule_is_refused_in_one_line(fault: str) -> None:
    with pytest.raises(ModelError, match="card of model 'fake': ") as caught:
        make_card(**BROKEN[fault])
    assert "\n" not in str(caught.value)


def text(**changes: object) -> str:
    values = json.loads(make_card().to_json())
    return json.dumps({**values, **changes})


UNREADABLE = {
    "no JSON": "{",
    "a list": "[]",
    "no format": "{}",
    "another format": text(format=99),
    "a field too many": text(colour="blue"),
    "a class without colour": text(classes=[{"name": "a", "value": 1}]),
    "text for a number": text(ratio="two"),
    "one number for three": text(mean=0.5),
}


@pytest.mark.parametrize("fault", UNREADABLE)
def test_unreadable_text_is_refused_in_one_line_that_names_its_source(fault: str) -> None:
    with pytest.raises(ModelError, match="there/card") as caught:
        ModelCard.from_json(UNREADABLE[fault], "there/card")
    assert "\n" not in str(caught.value)


def test_context_which_cards_once_had_may_be_left_out() -> None:
    values = json.loads(make_card(context=False).to_json())
    del values["context"]
    assert ModelCard.from_json(json.dumps(values), "there") == make_card(context=False)


def test_a_missing_field_is_named() -> None:
    values = json.loads(make_card().to_json())
    del values["ratio"]
    with pytest.raises(ModelError, match="ratio"):
        ModelCard.from_json(json.dumps(values), "there")


HOSTILE = {
    "a name that leaves the folder": {"name": "x/../../outside/evil"},
    "a name that no disk takes": {"name": "nuclei: v2/3"},
    "a name of a device": {"name": "NUL"},
    "a hidden name": {"name": ".hidden"},
    "a name with a line break": {"name": "two\nlines"},
    "a name that turns what follows": {"name": "\u202efdp.exe"},
    "a long name": {"name": "x" * 65},
    "no name": {"name": ""},
    "a version that leaves the folder": {"version": "../1"},
    "a description that writes to the terminal": {"description": "\x1b[2J"},
    "a description that no file holds": {"description": "\ud800"},
    "a long description": {"description": "x" * 10_001},
    "a class with a path": {"classes": (LabelClass("a/b", "#000000", 1),)},
    "a class with a control character": {"classes": (LabelClass("a\r=1", "#000000", 1),)},
    "two classes of one name": {
        "classes": (LabelClass("a", "#000000", 1), LabelClass("a", "#000000", 2))
    },
    "more classes than labels": {
        "classes": tuple(LabelClass(f"c{n}", "#000000", n) for n in range(1, 256))
    },
    "a halo that takes all memory": {"halo_px": 1 << 20},
    "tiles that take all memory": {"tile_px": 1 << 20, "coarse_window_px": (1 << 18) + 4},
    "coarse windows that take all memory": {"coarse_window_px": (1 << 20) + 4},
    "coarse windows that cover all of a slide": {
        "ratio": 64, "tile_px": 64, "halo_px": 0, "coarse_window_px": 504,
    },
    "tiles of two pixels": {"ratio": 2, "tile_px": 2, "halo_px": 0},
    "more logits than memory": {
        "classes": tuple(LabelClass(f"c{n}", "#000000", n) for n in range(1, 255)),
        "coarse_window_px": 404,
    },
    "a network of a million channels": {"architecture": {"name": "a", "widths": [10**6]}},
    "a network that loads a file": {"architecture": {"name": "fcn", "weights": "/etc/passwd"}},
    "a network without end": {"fine_architecture": {"name": "a", "widths": [1] * 10_001}},
    "a network whose name is a list": {"architecture": {"name": ["fcn"]}},
    "a number that is none": {"mean": (float("nan"), 0.5, 0.5)},
    "a temperature without end": {"temperature": float("inf")},
    "a deviation of 0": {"std": (0.5, 0.0, 0.5)},
    "pixels of a nanometre": {"fine_mpp": 1e-3, "mpp_range": (1e-3, 1.0)},
    "pixels of a metre": {"fine_mpp": 1e6, "mpp_range": (0.4, 1e6)},
    "a truth value for a number": {"ratio": True},
    "a fraction for a number of pixels": {"tile_px": 16.0},
    "an unknown measure": {"uncertainty": "none"},
    "a threshold that no score reaches": {"default_threshold": 7.0},
    "metrics that are no number": {"metrics": {"dice": float("nan")}},
    "metrics deeper than any": {"metrics": {"a": [[[[[[[[[1]]]]]]]]]}},
}  # fmt: skip


@pytest.mark.parametrize("fault", HOSTILE)
def test_what_a_stranger_may_state_is_refused_in_one_short_line(fault: str) -> None:
    with pytest.raises(ModelError, match="card of model ") as caught:
        make_card(**HOSTILE[fault])
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400


GENEROUS = {
    "a name with a space and a bracket": {"name": "nuclei v2 (H&E)"},
    "a class of QuPath": {"classes": (LabelClass("Tumor: Positive", "#000000", 1),)},
    "a text of two lines": {"description": "one\ntwo"},
    "254 classes in small windows": {
        "classes": tuple(LabelClass(f"c{n}", "#000000", n) for n in range(1, 255))
    },
    "the largest windows": {"coarse_window_px": 1024, "coarse_halo_px": 32, "tile_px": 128},
    "whole numbers for fractions": {"fine_mpp": 1, "mpp_range": (1, 2)},
}


@pytest.mark.parametrize("card", GENEROUS)
def test_what_makers_of_models_state_is_taken(card: str) -> None:
    made = make_card(**GENEROUS[card])
    assert ModelCard.from_json(made.to_json(), "here") == made


@pytest.mark.parametrize(
    "broken",
    [
        "[" * 100_000,
        text(metrics={}) + " " * (1 << 20),
        '{"format": 1, "name": 1' + "0" * 5000 + "}",
        text(mean=["\x1b[2J"] * 3),
        text(**{"\x1b[2J": 1}),
    ],
    ids=["deep", "long", "many digits", "escapes for numbers", "an escape for a field"],
)
def test_text_that_no_parser_should_meet_is_refused_in_one_short_line(broken: str) -> None:
    with pytest.raises(ModelError, match="there/card") as caught:
        ModelCard.from_json(broken, "there/card")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_measures_that_a_card_may_name_are_those_that_there_are() -> None:
    assert set(get_args(Uncertainty)) == {*MEASURES, GAIN}
    assert set(make_card().measures) == set(MEASURES)
    assert set(make_card(gain_output=True).measures) == {*MEASURES, GAIN}
