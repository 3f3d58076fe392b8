"""Learning from another network beside the truth: what a teacher makes of the training images.

Knowledge distillation as in Hinton et al., Distilling the knowledge in a neural network (2015). The
teacher is a single model's run; it reads each image whole, at its own pixel size, and once: its
answers are cropped, turned and scaled with the image, so that a step of training costs no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, overload

import numpy as np
import torch

from napari_twostage.method.uncertainty import probabilities
from napari_twostage.training.checkpoint import read_claim, require_finished
from napari_twostage.training.config import ConfigError
from napari_twostage.training.datasets import Sample
from napari_twostage.training.infer import prepare
from napari_twostage.training.pretrained import load_module
from napari_twostage.training.stages import coarse_at_full_size
from napari_twostage.training.validate import predict_whole

if TYPE_CHECKING:
    from pathlib import Path

    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.stages import Predict


class TaughtSamples(Sequence[Sample]):
    """Samples with a teacher's probabilities, computed each time they are indexed.

    Parameters
    ----------
    samples : sequence of Sample
    predict : callable
        The teacher's: fine images to logits at their pixel size.
    """

    def __init__(self, samples: Sequence[Sample], predict: Predict) -> None:
        self._samples = samples
        self._predict = predict

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> TaughtSamples: ...
    def __getitem__(self, index: int | slice) -> Sample | TaughtSamples:
        if isinstance(index, slice):
            return TaughtSamples(self._samples[index], self._predict)
        sample = self._samples[index]
        with torch.inference_mode():
            shares = probabilities(predict_whole(self._predict, sample.image))[1:]
        return replace(sample, taught=np.rint(255 * shares).astype(np.uint8))


def teach(samples: Sequence[Sample], run: Path, config: TrainConfig) -> TaughtSamples:
    """Let the network of a finished run be the teacher of another.

    Parameters
    ----------
    samples : sequence of Sample
        To train on.
    run : path
        Folder of a single model's run.
    config : TrainConfig
        Of the run that learns from it.

    Raises
    ------
    ConfigError
        If the teacher is not finished, was trained on other images, or tells other classes apart.
    """
    require_finished(run)
    teacher = read_claim(run)
    if (teacher.data, teacher.seed) != (config.data, config.seed):
        raise ConfigError(
            f"the teacher in {run} has other [data] or another seed than its pupil, so it may have "
            "seen what the pupil holds out; train both alike"
        )
    module = prepare(load_module(teacher, run))
    return TaughtSamples(samples, coarse_at_full_size(module, teacher.network.ratio))
