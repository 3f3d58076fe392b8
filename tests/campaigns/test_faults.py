"""A few cases of each campaign of faults; `python -m tests.campaigns NAME` runs hundreds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from tests.campaigns import disk_full, kills, power_cuts
from tests.campaigns.disks import why_no_power_cuts, why_no_small_disks
from tests.campaigns.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="cases fork a process that has loaded all libraries"
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene.make(tmp_path_factory.mktemp("scene") / "scene", edits=10)


def assert_right(
    campaign: ModuleType, ways: Sequence[str], count: int, folder: Path, scene: Scene
) -> None:
    outcomes = list(campaign.run_ways(ways, count, 1, folder, scene))
    assert len(outcomes) == count
    bad = [f"{outcome.name}: {outcome.message}" for outcome in outcomes if outcome.kind != "right"]
    assert not bad, "\n".join(bad)


def test_killed_work_goes_on_to_the_same_bytes(scene: Scene, tmp_path: Path) -> None:
    ways = ("edits", "segment", "export", "edits-in-a-run")
    assert_right(kills, ways, len(ways), tmp_path, scene)


def test_a_power_cut_takes_nothing_that_was_finished(scene: Scene, tmp_path: Path) -> None:
    if reason := why_no_power_cuts():
        pytest.skip(reason)
    ways = ("edits", "finished", "segment")
    assert_right(power_cuts, ways, 2 * len(ways), tmp_path, scene)


def test_a_disk_that_refuses_ends_in_one_line_and_nothing_blocks(
    scene: Scene, tmp_path: Path
) -> None:
    if reason := why_no_small_disks():
        pytest.skip(reason)
    ways = ("full-segment", "full-edits", "limit-refine", "files-edits", "renamed-segment")
    assert_right(disk_full, ways, len(ways), tmp_path, scene)
