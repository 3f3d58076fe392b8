"""The runs that tables 3 and 4 compare: what each changes, where it lies, if it may stand here.

A folder of runs holds one of a data set: ``RUNS/<architecture>/<variant>/``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.training.checkpoint import STAGE1
from napari_twostage.training.config import TrainConfig, load_config
from napari_twostage.training.log import Log
from napari_twostage.training.pretrained import load_module
from napari_twostage.training.train import run
from training.kept import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_twostage.models.networks.two_stage import TwoStage

ARCHITECTURES = {"deeplabv3": "DeepLab", "unet": "U-Net", "segnet": "SegNet", "fcn": "FCN"}
"""The paper's rows, in its order."""

_SINGLE = ("kind=single", "network.context=false")
VARIANTS: dict[str, tuple[str, ...]] = {
    "proposal": (),
    "baseline": (*_SINGLE, "network.ratio=1"),
    "half": (*_SINGLE, "network.ratio=2"),
    "quarter": (*_SINGLE, "network.ratio=4"),
    "tiles4": ("network.ratio=2",),
    "tiles64": ("network.ratio=8",),
    "tiles256": ("network.ratio=16",),
    "random": ("tiles.selection=random",),
    "highest": ("tiles.selection=highest",),
    "no_transfer": ("network.transfer=false",),
    "no_context": ("network.context=false",),
}
"""What each variant changes in the configuration of the proposal."""
SAME_STAGE1 = ("random", "highest", "no_transfer", "no_context")
"""Variants whose stage 1 is the proposal's: what they change is not looked at before stage 2."""


class RunError(ValueError):
    """Runs that must not stand in one table; the message names the file."""


@dataclass(frozen=True)
class Study:
    """A data set, and the runs on it."""

    name: str
    """As the paper calls it, where it does."""
    config: Path
    """The proposal's."""
    data: Path
    runs: Path
    changes: tuple[str, ...] = ()
    """Of the configuration, such as its layout: ``section.key=value``."""

    def find(self, architecture: str, variant: str) -> Run:
        """The run of that name, trained or not."""
        changes = (
            *self.changes,
            f"network.architecture={architecture}",
            *VARIANTS[variant],
        )
        config = load_config(self.config, changes)
        if config.whole_images is None:
            raise RunError(
                f"{self.config} trains on crops; the paper's tables compare runs on whole images: "
                "add a [whole_images]"
            )
        folder = self.runs / architecture
        stage1 = folder / "proposal" / STAGE1 if variant in SAME_STAGE1 else None
        size_px = config.whole_images.size_px
        return Run(self, architecture, config, size_px, folder / variant, stage1)


@dataclass(frozen=True)
class Run:
    """A training run, finished or still to be done."""

    study: Study
    architecture: str
    config: TrainConfig
    size_px: int
    """Side of the square that images are resized to."""
    folder: Path
    stage1: Path | None = None
    """Of another run that trains the same stage 1, to be taken over if it is there."""

    @property
    def weights(self) -> list[Path]:
        """The files that a finished run has."""
        count = 2 if self.config.kind == "two_stage" else 1
        return [self.folder / f"stage{stage}.safetensors" for stage in range(1, count + 1)]

    @property
    def finished(self) -> bool:
        """Whether it can be measured.

        Raises
        ------
        RunError
            If the folder holds a run of another configuration.
        """
        record = self.folder / "config.json"
        if not record.exists():
            return False
        wanted = json.loads(json.dumps(asdict(self.config)))
        if differing := _differences(json.loads(record.read_text()), wanted):
            raise RunError(
                f"{record} is of another configuration than this table's ({'; '.join(differing)}); "
                "never mix them: name another folder of runs, or the configuration it was run with"
            )
        return all(path.exists() for path in self.weights)

    def train(self, device: str) -> None:
        """Run it to its end, or on from where it was killed."""
        own = self.folder / STAGE1
        if self.stage1 is not None and self.stage1.exists() and not own.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.stage1, own)
        run(self.config, self.study.data, self.folder, device=device)

    def load(self) -> TwoStage:
        """Build both stages with the trained weights."""
        return load_module(self.config, self.folder)

    def fingerprint(self) -> str:
        """Names the weights."""
        return fingerprint(self.weights)

    def seconds(self, stages: int = 2) -> float:
        """What training the first of its stages took."""
        rows = Log(self.folder).read()
        names = [path.stem for path in self.weights[:stages]]
        return sum(
            max((float(row["seconds"]) for row in rows if row["stage"] == name), default=0.0)
            for name in names
        )

    def scale(self) -> dict[str, Any]:
        """What must be alike in all rows of a table, in the words of its caption."""
        config = self.config
        scale: dict[str, Any] = {"px": self.size_px}
        for name, stage in (("stage 1", config.stage1), ("stage 2", config.stage2)):
            if stage is not None:
                length = f"{stage.epochs} epochs" if stage.epochs else f"{stage.steps} steps"
                scale[name] = f"{length} of batches of {stage.batch}"
        return scale | {
            "training images": config.data.limit or "all",
            "seed": config.seed,
            "loss": config.loss.name,
            "started from": config.network.weights,
            "options": config.network.options or "none",
        }


def require_one_scale(runs: Iterable[Run]) -> dict[str, Any]:
    """What all runs have in common.

    Raises
    ------
    RunError
        If two of them were run at different scales.
    """
    common: dict[str, Any] = {}
    for entry in runs:
        scale = entry.scale()
        for key in common.keys() & scale.keys():
            if common[key] != scale[key]:
                raise RunError(
                    f"{entry.study.config}: {key} is {scale[key]}, in other rows {common[key]}; "
                    "a table holds runs of one scale: make a table of each"
                )
        common |= scale
    return common


def _differences(found: object, wanted: object, where: str = "") -> list[str]:
    """What differs between two nested tables, by dotted key."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted(found.keys() | wanted.keys())
            for line in _differences(found.get(key), wanted.get(key), f"{where}.{key}".strip("."))
        ]
    return [] if found == wanted else [f"{where} is {found}, here {wanted}"]
