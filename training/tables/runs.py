"""Runs that tables 3 and 4 compare: their configurations, folders and consistency.

A folder of runs holds those of one data set: ``RUNS/<architecture>/<variant>/``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_twostage.errors import TwoStageError
from napari_twostage.training.config import TrainConfig, load_config
from napari_twostage.training.run.log import RunLog
from napari_twostage.training.run.networks import load_trained_networks
from napari_twostage.training.run.run_folder import STAGE1
from napari_twostage.training.train import train
from training.result_cache import fingerprint

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
"""Changes of each variant to the configuration of the proposal."""
SAME_STAGE1 = ("random", "highest", "no_transfer", "no_context")
"""Variants with the proposal's stage 1: their changes affect stage 2 only."""


class RunError(TwoStageError):
    """Runs that must not share a table; the message names the file."""


@dataclass(frozen=True)
class DataSetRuns:
    """A data set, and the runs on it."""

    name: str
    """Name as in the paper, if it has the data set."""
    config: Path
    """Configuration file of the proposal."""
    data: Path
    runs: Path
    changes: tuple[str, ...] = ()
    """Changes to the configuration, such as its layout: ``section.key=value``."""

    def find(self, architecture: str, variant: str) -> Run:
        """Run of this variant, trained or not."""
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
    """A training run, finished or not."""

    data_set: DataSetRuns
    architecture: str
    config: TrainConfig
    size_px: int
    """Side of the square that images are resized to."""
    folder: Path
    stage1: Path | None = None
    """Weights of another run with the same stage 1, reused if they exist."""

    @property
    def weights(self) -> list[Path]:
        """Weight files of a finished run."""
        count = 2 if self.config.kind == "two_stage" else 1
        return [self.folder / f"stage{stage}.safetensors" for stage in range(1, count + 1)]

    @property
    def finished(self) -> bool:
        """Whether the run can be measured.

        Raises
        ------
        RunError
            If the folder holds a run of another configuration.
        """
        record = self.folder / "config.json"
        if not record.exists():
            return False
        wanted = json.loads(json.dumps(asdict(self.config)))
        if differing := _differences(json.loads(record.read_text(encoding="utf-8")), wanted):
            raise RunError(
                f"{record} is of another configuration than this table's ({'; '.join(differing)}); "
                "never mix them: name another folder of runs, or the configuration it was run with"
            )
        return all(path.exists() for path in self.weights)

    @property
    def level(self) -> int:
        """Order of training: 1 after the run whose stage 1 it takes over."""
        return int(self.stage1 is not None)

    def train(self, device: str) -> None:
        """Train the run to its end, or resume it."""
        own = self.folder / STAGE1
        if self.stage1 is not None and self.stage1.exists() and not own.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.stage1, own)
        train(self.config, self.data_set.data, self.folder, device=device)

    def load(self) -> TwoStage:
        """Both stages with the trained weights."""
        return load_trained_networks(self.config, self.folder)

    def fingerprint(self) -> str:
        """SHA-256 of the weights."""
        return fingerprint(self.weights)

    def seconds(self, stages: int = 2) -> float:
        """Seconds of training the first `stages` stages."""
        rows = RunLog(self.folder).read()
        names = [path.stem for path in self.weights[:stages]]
        return sum(
            max((float(row["seconds"]) for row in rows if row["stage"] == name), default=0.0)
            for name in names
        )

    def scale(self) -> dict[str, Any]:
        """Settings that must be equal in all rows of a table, worded for its caption."""
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
    """Settings that all runs share.

    Raises
    ------
    RunError
        If two runs differ in scale.
    """
    common: dict[str, Any] = {}
    for entry in runs:
        scale = entry.scale()
        for key in common.keys() & scale.keys():
            if common[key] != scale[key]:
                raise RunError(
                    f"{entry.data_set.config}: {key} is {scale[key]}, in other rows {common[key]}; "
                    "a table holds runs of one scale: make a table of each"
                )
        common |= scale
    return common


def _differences(found: object, wanted: object, where: str = "") -> list[str]:
    """Differences between two nested tables, by dotted key."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted(found.keys() | wanted.keys())
            for line in _differences(found.get(key), wanted.get(key), f"{where}.{key}".strip("."))
        ]
    return [] if found == wanted else [f"{where} is {found}, here {wanted}"]
