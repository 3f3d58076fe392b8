"""The bench verb: three ways, by rounds, the machine named; and the clocks of the stages."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.fakes import FakeModel, noise_slide
from tests.proofs.helpers import tissue_pixels, write_tiff

from napari_twostage.cli.bench import time_stages, total
from napari_twostage.cli.parser import main
from napari_twostage.utils.timing import Seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import pytest

PAUSE_S = 0.05


class SlowStage2(FakeModel):
    """Stage 2 sleeps: its time must be found where it was spent."""

    def refine(self, windows: Sequence[np.ndarray]) -> np.ndarray:
        time.sleep(PAUSE_S)
        return super().refine(list(windows))


def test_each_stage_is_timed_by_itself() -> None:
    model = SlowStage2()
    stages = time_stages(noise_slide(), model, refine="all", tissue=False)
    assert model.calls > 5
    assert stages["refine"].wall >= model.calls * PAUSE_S
    assert stages["refine"].cpu < stages["refine"].wall  # it slept
    none = time_stages(noise_slide(), model, refine="none", tissue=False)
    assert none["refine"].wall < stages["refine"].wall


def test_stages_add_up() -> None:
    stages = {"tissue": Seconds(1, 2), "coarse": Seconds(3, 4), "refine": Seconds(5, 6)}
    assert total(stages) == Seconds(9, 12)


def test_the_verb_compares_three_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide = write_tiff(tmp_path / "a.tif", tissue_pixels(256, 256))
    arguments = ["bench", str(slide), "--rounds", "1", "--fraction", "0.25", "--device", "cpu"]
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["ways"]) == ["coarse only", "two stages, 25%", "every tile"]
    assert found["ways"]["every tile"]["speed_up"] == 1
    assert all(way["cpu_s"] > 0 for way in found["ways"].values())
    assert {"processor", "python", "torch"} <= found["machine"].keys()


def test_no_rounds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--rounds", "0"]) == 2
    assert "expected at least one round, found 0" in capsys.readouterr().err
