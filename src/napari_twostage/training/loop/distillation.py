"""Knowledge distillation: a teacher's probabilities as soft targets beside the ground truth.

See Hinton et al., Distilling the knowledge in a neural network (2015). The teacher is a single
model's run. It reads each image once, whole, at its own pixel size; its output is cropped, turned
and scaled with the image, so that a training step costs no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from napari_twostage.method.uncertainty import probabilities
from napari_twostage.training.config import ConfigError
from napari_twostage.training.datasets import Sample
from napari_twostage.training.loop.stages import coarse_at_full_size
from napari_twostage.training.loop.validate import predict_whole
from napari_twostage.training.run.networks import load_trained_networks, prepare_inference
from napari_twostage.training.run.run_folder import read_run_config, require_finished

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.loop.stages import Predict


class SamplesWithTeacher(Sequence[Sample]):
    """Samples with a teacher's soft targets, computed each time they are indexed.

    Parameters
    ----------
    samples : sequence of Sample
    predict : callable
        The teacher's function from fine images to logits at their pixel size.
    """

    def __init__(self, samples: Sequence[Sample], predict: Predict) -> None:
        self._samples = samples
        self._predict = predict

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> SamplesWithTeacher: ...
    def __getitem__(self, index: int | slice) -> Sample | SamplesWithTeacher:
        if isinstance(index, slice):
            return SamplesWithTeacher(self._samples[index], self._predict)
        sample = self._samples[index]
        with torch.inference_mode():
            shares = probabilities(predict_whole(self._predict, sample.image))[1:]
        return replace(sample, soft_targets=np.rint(255 * shares).astype(np.uint8))


def add_teacher(samples: Sequence[Sample], run: Path, config: TrainConfig) -> SamplesWithTeacher:
    """Add the soft targets of a finished run to the samples of another.

    Parameters
    ----------
    samples : sequence of Sample
        Training images.
    run : path
        Folder of the teacher's run, a single model.
    config : TrainConfig
        Configuration of the run that learns from the teacher.

    Raises
    ------
    ConfigError
        If the teacher is not finished, or was trained on other images or other classes.
    """
    require_finished(run)
    teacher = read_run_config(run)
    if (teacher.data, teacher.seed) != (config.data, config.seed):
        raise ConfigError(
            f"the teacher in {run} has other [data] or another seed than its pupil, so it may have "
            "seen what the pupil holds out; train both alike"
        )
    module = prepare_inference(load_trained_networks(teacher, run))
    return SamplesWithTeacher(samples, coarse_at_full_size(module, teacher.network.ratio))
