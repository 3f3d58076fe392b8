"""The training loop of one stage, from its first step or last checkpoint to its weights."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from napari_twostage.io.files import replace_file
from napari_twostage.models.backends.precision import multiplies
from napari_twostage.training.loop.batches import prefetch
from napari_twostage.training.loop.losses import (
    compute_loss,
    distillation_loss,
    object_loss,
)
from napari_twostage.training.loop.validate import predicting, validate
from napari_twostage.training.run.log import RunLog
from napari_twostage.training.run.run_folder import load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from napari_twostage.training.config import StageConfig, TrainConfig
    from napari_twostage.training.datasets import Sample
    from napari_twostage.training.loop.batches import Batch
    from napari_twostage.training.loop.stages import Compared, Stage

LOG_EVERY = 10
CHECKPOINT_EVERY = 100
"""A multiple of LOG_EVERY: a resumed run starts on a fresh row of the log."""
VALIDATE_EVERY = 250
LOOK_AT = 0.1
"""Pixels that are looked at to find mistakes, as a share of those of all crops."""


def train_stage(
    stage: Stage,
    config: TrainConfig,
    validation: Sequence[Sample],
    out: Path,
    device: torch.device,
    *,
    progress: bool = True,
) -> None:
    """Train one stage, or load it if an earlier call finished it.

    Its weights end averaged, and mixed with those of the start if the configuration says so.
    """
    # loaded stages too: the memory format decides rounding, which affects the next stage
    stage.network.to(memory_format=torch.channels_last)
    final = out / f"{stage.name}.safetensors"
    if final.exists():
        load_weights(stage.network, final)
        stage.network.eval()
        return
    share = config.network.start_share
    start = {name: value.clone() for name, value in stage.network.state_dict().items() if share}
    average = AveragedModel(stage.network, use_buffers=True)
    optimiser = make_optimiser(stage)
    checkpoint = Checkpoint(out / f"{stage.name}.checkpoint.pt", stage.network, average, optimiser)
    first, seconds = checkpoint.resume(device)
    log = RunLog(out)
    log.rewind(stage.name, first)
    started = time.perf_counter() - seconds
    losses: list[Tensor] = []
    bar = tqdm(total=stage.steps, initial=first, desc=stage.name, unit="step", disable=not progress)
    for step, batch in _draw_all(stage, average.module, first, out, device):
        losses.append(train_step(stage, config, batch.to(device), optimiser, step))
        done, last = step + 1, step + 1 == stage.steps
        average.multi_avg_fn = get_ema_multi_avg_fn(average_decay(stage, done))
        average.update_parameters(stage.network)
        bar.update()
        if done % LOG_EVERY == 0 or done % VALIDATE_EVERY == 0 or last:
            # only here: reading a loss waits for the GPU
            loss = float(torch.stack(losses).mean())
            losses.clear()
            validating = done % VALIDATE_EVERY == 0 or last
            quality = validate(stage, average.module, validation, device) if validating else None
            log.add(stage.name, done, loss, quality, time.perf_counter() - started)
            bar.set_postfix(loss=f"{loss:.3f}", **({} if quality is None else {"dice": quality}))
            if validating:
                log.plot()
        if done % CHECKPOINT_EVERY == 0:
            checkpoint.save(done, time.perf_counter() - started)
    bar.close()
    trained = average.module.state_dict()
    for name, value in start.items():
        if value.is_floating_point():
            trained[name] = torch.lerp(trained[name], value, share)
    stage.network.load_state_dict(trained)
    stage.network.eval()
    save_weights(stage.network, final)
    checkpoint.path.unlink(missing_ok=True)
    _mistakes_file(stage, out).unlink(missing_ok=True)


def _draw_all(
    stage: Stage, averaged: nn.Module, first: int, out: Path, device: torch.device
) -> Iterator[tuple[int, Batch]]:
    """Steps from `first` on, each with its batch; midway, mistakes are looked for."""
    middle = stage.steps // 2 if stage.mistakes.share else stage.steps
    for steps in (range(first, middle), range(max(first, middle), stage.steps)):
        if steps and steps.start >= middle:
            _learn_mistakes(stage, averaged, _mistakes_file(stage, out), device)
        yield from zip(steps, prefetch(stage.draw, steps), strict=True)


def _learn_mistakes(stage: Stage, averaged: nn.Module, path: Path, device: torch.device) -> None:
    """Find the mistakes, or read those that an earlier call found at the same step."""
    if path.exists():
        stage.mistakes.load(path)
        return
    trained_px = stage.steps * stage.config.batch * stage.config.crop_px**2
    with predicting(stage, averaged, device) as predict:
        stage.mistakes.find(stage.samples, predict, LOOK_AT * trained_px, stage.seed)
    stage.mistakes.save(path)


def _mistakes_file(stage: Stage, out: Path) -> Path:
    return out / f"{stage.name}.mistakes.npy"


def train_step(
    stage: Stage, config: TrainConfig, batch: Batch, optimiser: Optimizer, step: int
) -> Tensor:
    """Update the network's weights once; returns the loss, on the device."""
    stage.network.train()
    torch.manual_seed((stage.seed << 32) + step)  # dropout must not depend on earlier steps
    for group in optimiser.param_groups:
        group["lr"] = stage.config.learning_rate * _schedule(stage.config, step / stage.steps)
    device = batch.images.device
    half = config.precision == "bf16" and is_fast_in_bf16(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        # a generator of its own, independent of the one that drew the batch
        compared = stage.forward(batch, np.random.default_rng((stage.seed, step, 1)))
    loss = total_loss(compared, config, stage.config.miss_price)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


def total_loss(compared: Compared, config: TrainConfig, miss_price: float = 1.0) -> Tensor:
    """Loss of the classes, mixed with a teacher's if there is one, plus that of the objects."""
    logits = compared.logits.float()
    loss = compute_loss(logits, compared.masks, config.loss, miss_price)
    if compared.soft_targets is not None:
        share = config.distillation
        soft_loss = distillation_loss(logits, compared.soft_targets)
        loss = (1 - share) * loss + share * soft_loss
    if compared.object_logits is not None and compared.objects is not None:
        loss = loss + config.loss.objects * object_loss(
            compared.object_logits.float(), compared.objects
        )
    return loss


def average_decay(stage: Stage, done: int) -> float:
    """Share of the averaged weights that stays after a step, the `done`-th.

    A share of 1 − 1/n at the n-th step of an average weighs all of its steps alike.
    """
    if not stage.config.average_last:
        return stage.config.average
    counted = done - math.floor(stage.steps * (1 - stage.config.average_last))
    return 1 - 1 / max(1, counted)


def is_fast_in_bf16(device: torch.device) -> bool:
    """Whether bfloat16 saves time; a CPU that only emulates it takes ten times as long."""
    return device.type != "cpu" or multiplies("bf16", "cpu")


def make_optimiser(stage: Stage) -> Optimizer:
    """Build the optimiser that a stage's configuration names."""
    kinds: dict[str, type[torch.optim.Adam]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
    }
    kind = kinds[stage.config.optimiser]
    return kind(
        stage.network.parameters(),
        lr=stage.config.learning_rate,
        weight_decay=stage.config.weight_decay,
    )


def _schedule(config: StageConfig, progress: float) -> float:
    """Factor of the learning rate: 1, or a warm-up of 5 %, then a cosine down to 1 %."""
    if config.schedule == "constant":
        return 1.0
    if progress < 0.05:
        return 0.1 + 0.9 * progress / 0.05
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


@dataclass(frozen=True)
class Checkpoint:
    """A file with the full state of a stage's training, for resuming a killed run."""

    path: Path
    network: nn.Module
    average: AveragedModel
    optimiser: Optimizer

    def save(self, step: int, seconds: float) -> None:
        """Write the file atomically; the previous one stays until the new one is complete."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": step,
            "seconds": seconds,
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        replace_file(partial, self.path)

    def resume(self, device: torch.device) -> tuple[int, float]:
        """Restore the state of the file if it exists; returns (steps done, seconds spent)."""
        if not self.path.exists():
            return 0, 0.0
        state = torch.load(self.path, weights_only=True, map_location=device)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        return int(state["step"]), float(state["seconds"])
