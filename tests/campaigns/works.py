"""Work that campaigns of refusing disks do: commands and edits, repeated until they are done."""

from __future__ import annotations

import contextlib
import io
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.campaigns.kills import content_of, export_to
from tests.campaigns.scene import Scene, count_changes, require, require_finished, require_sound
from tests.campaigns.victims import Victim, in_child
from tests.fakes import FakeModel

from napari_twostage import Segmentation
from napari_twostage.cli import commands
from napari_twostage.cli.parser import main
from napari_twostage.errors import TwoStageError
from napari_twostage.result.folder_names import result_folder

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.campaigns.changes import Change

FAILED, BAD_INPUT = 1, 2
"""Exit codes of commands."""


class Room(NamedTuple):
    """Room that a disk has, or work needs."""

    kib: int
    files: int


@dataclass
class Site:
    """A small disk, and what is worked on there."""

    scene: Scene
    rng: random.Random
    disk: Path
    target: Path
    """Export on the disk."""
    references: dict[str, Any]
    """Content of each export; see `kills.exports_of`."""
    needs: dict[str, Room] = field(default_factory=dict)
    """Room that each kind of work takes."""

    @property
    def out(self) -> Path:
        """Result on the disk."""
        return self.disk / "out.zarr"


class Work:
    """A command, to be repeated until it is done."""

    name = ""
    most_lines = 1
    """Lines on stderr of a command that was refused."""
    codes: tuple[int, ...] = (FAILED,)
    """Exit codes of a command that was refused."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.scene = site.scene
        self.out = site.out
        self.said = ""
        """What the last attempt said on stderr."""

    def prepare(self) -> None:
        """Put on the disk what the command starts from."""

    def words(self) -> list[str]:
        """Words of the command line."""
        raise NotImplementedError

    def attempt(self, before: Callable[[], None] = lambda: None) -> bool:
        """Run the command in a process of its own; returns whether it was done.

        Parameters
        ----------
        before : callable
            Called in the process first.
        """
        return self.judge(self.start(before).finish()[-1])

    def complete(self, before: Callable[[], None] = lambda: None) -> None:
        """Run the command, which must be done now that nothing refuses it."""
        require(self.attempt(before), f"it does not go on: {self.said}")

    def start(self, before: Callable[[], None] = lambda: None) -> Victim:
        """Start the command in a process of its own."""
        return Victim(lambda report: report(_command(self.words(), before)))

    def judge(self, ended: tuple[int, str]) -> bool:
        """Whether a command was done; raises unless it says in one line what refused it."""
        code, self.said = ended
        if code == 0:
            return True
        text = self.said
        lines = text.strip().splitlines()
        require(code in self.codes, f"exit code {code}: {text[-2000:]}")
        require(len(lines) <= self.most_lines, f"{len(lines)} lines: {text[-2000:]}")
        return False

    def require_done(self) -> None:
        """Require the bytes of an undisturbed run."""
        require_finished(self.out, self.scene.expected[0])


class Segment(Work):
    """Segment a slide."""

    name = "segment"
    slide: Path | None = None

    def words(self) -> list[str]:
        slide = self.slide or self.scene.slides[0]
        return ["segment", str(slide), "--out", str(self.out), "--refine", "all", "--no-tissue"]


class Refine(Work):
    """Refine a result."""

    name = "refine"

    def prepare(self) -> None:
        shutil.copytree(self.scene.coarse, self.out)

    def words(self) -> list[str]:
        return ["refine", str(self.out), "--fraction", "1"]


class Export(Work):
    """Export a result; a file that is there stays until the new one is whole."""

    name = "export"

    def prepare(self) -> None:
        self.old = None
        if self.site.rng.random() < 0.5:
            in_child(export_to, self.scene.coarse, self.site.target)
            self.old = content_of(self.site.target)

    def words(self) -> list[str]:
        return ["export", str(self.scene.done), str(self.site.target)]

    def judge(self, ended: tuple[int, str]) -> bool:
        done = super().judge(ended)
        if not done:
            target = self.site.target
            found = content_of(target) if target.exists() else None
            require(found == self.old, "a failed export changed the file")
            left = {path.name for path in self.site.disk.iterdir()} - {target.name}
            require(not left, f"left over: {left}")
        return done

    def require_done(self) -> None:
        target = self.site.target
        require(content_of(target) == self.site.references[target.name], "other content")


class Batch(Work):
    """Segment all slides."""

    name = "batch"
    most_lines = 4

    def words(self) -> list[str]:
        slides = map(str, self.scene.slides)
        folder = str(self.site.disk / "results")
        return ["batch", *slides, "--out", folder, "--refine", "all", "--no-tissue"]

    def require_done(self) -> None:
        for slide, expected in zip(self.scene.slides, self.scene.expected, strict=True):
            require_finished(result_folder(self.site.disk / "results", slide.name), expected)


class Edits(Work):
    """Make edits and undos; one that fails has changed nothing and is repeated."""

    name = "edits"

    def prepare(self) -> None:
        shutil.copytree(self.scene.done, self.out)
        self.made = 0

    def start(self, before: Callable[[], None] = lambda: None) -> Victim:
        rest = self.scene.changes[self.made :]
        return Victim(lambda report: report(_change(self.out, rest, before)))

    def judge(self, ended: tuple[int, str]) -> bool:
        count, text = ended
        self.made, self.said = self.made + count, text
        if text:
            require("\n" not in text, text)
            count_changes(self.out, self.scene, self.made, self.made, self.site.rng)
        return not text

    def require_done(self) -> None:
        count_changes(self.out, self.scene, self.made, self.made, self.site.rng)
        require_sound(self.out)


WORK: dict[str, type[Work]] = {kind.name: kind for kind in (Segment, Refine, Edits, Export, Batch)}
"""Kinds of work by name."""


def _command(words: list[str], before: Callable[[], None]) -> tuple[int, str]:
    """Exit code of a command line, and what it says on stderr."""
    commands.load_model = lambda *_, **__: FakeModel()  # type: ignore[assignment]
    said = io.StringIO()
    before()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main([*words, "--quiet"])
    return code, said.getvalue()


def _change(out: Path, changes: tuple[Change, ...], before: Callable[[], None]) -> tuple[int, str]:
    """Make changes until one is refused; returns how many were made, and why not all."""
    before()
    seg = Segmentation.open(out)
    for number, change in enumerate(changes):
        try:
            change.apply(seg)
        except TwoStageError as error:
            return number, str(error)
    return len(changes), ""
