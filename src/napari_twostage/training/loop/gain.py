"""Gain output of stage 1: the probability that refinement corrects a pixel; learnt last.

Both stages are trained by then, and stay as they are. The output is one more channel of stage 1's
last convolution, so it costs nothing to compute. It is trained on images that neither stage was
trained on, where both err as on new ones; the channel has too few weights to learn them by heart.
Its target is made batch by batch: stage 2 runs on the engine's own windows, and the share of each
coarse pixel that stage 1 has wrong and stage 2 has right is what there is to gain.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from napari_twostage.models.networks.refiner import enlarge
from napari_twostage.models.networks.two_stage import coarsen
from napari_twostage.training.datasets import CachedSamples
from napari_twostage.training.loop.batches import make_draw, prefetch
from napari_twostage.training.loop.stages import pad_to_multiple
from napari_twostage.training.loop.tiles import refine_windows
from napari_twostage.training.loop.train_stage import LOG_EVERY, is_fast_in_bf16
from napari_twostage.training.run.log import RunLog
from napari_twostage.training.run.run_folder import GAIN, load_weights, save_weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from napari_twostage.models.networks.two_stage import TwoStage
    from napari_twostage.training.config import TrainConfig
    from napari_twostage.training.config.schema import GainConfig
    from napari_twostage.training.datasets import Sample
    from napari_twostage.training.loop.batches import Batch

RARE = -6.0
"""Logit that the output starts from: few pixels are corrected."""


def add_gain(
    module: TwoStage,
    config: TrainConfig,
    samples: Sequence[Sample],
    out: Path,
    device: torch.device,
    *,
    progress: bool = True,
) -> None:
    """Give stage 1 the output: trained, or loaded if an earlier call finished it.

    Parameters
    ----------
    module : TwoStage
        Both stages, trained.
    config : TrainConfig
        With a `gain`.
    samples : sequence of Sample
        Images that were not trained on.
    out : path
        Folder of the run.
    device : torch.device
    progress : bool
        Show a progress bar on stderr.
    """
    settings = config.gain
    if settings is None:
        return
    last = module.stage1.last
    head = nn.Conv2d(last.in_channels, 1, last.kernel_size, padding=last.padding).to(device)  # type: ignore[arg-type]  # two numbers
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, RARE)  # type: ignore[arg-type]  # there is one
    file = out / GAIN
    if file.exists():
        load_weights(head, file)
    else:
        _train(head, module, config, settings, samples, out, progress=progress)
        save_weights(head, file)
    module.stage1.last = joined(last, head)
    module.gain = True


def joined(last: nn.Conv2d, head: nn.Conv2d) -> nn.Conv2d:
    """One convolution with the outputs of both, the second's behind the first's."""
    both = nn.Conv2d(
        last.in_channels,
        last.out_channels + head.out_channels,
        last.kernel_size,  # type: ignore[arg-type]  # two numbers
        padding=last.padding,  # type: ignore[arg-type]  # two numbers
    )
    state = {
        name: torch.cat([last.state_dict()[name], head.state_dict()[name]])
        for name in ("weight", "bias")
    }
    both.load_state_dict(state)
    return both.to(last.weight.device)


def _train(
    head: nn.Conv2d,
    module: TwoStage,
    config: TrainConfig,
    settings: GainConfig,
    samples: Sequence[Sample],
    out: Path,
    *,
    progress: bool,
) -> None:
    device = head.weight.device
    seed = config.seed + 2  # after those of the stages
    draw = make_draw(CachedSamples(samples), config, config.stage1, seed)
    optimiser = torch.optim.Adam(head.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    log = RunLog(out)
    log.rewind("gain", 0)
    started = time.perf_counter()
    bar = tqdm(total=settings.steps, desc="gain", unit="step", disable=not progress)
    for step, batch in enumerate(prefetch(draw, range(settings.steps))):
        features, corrected = describe(module, config, batch.to(device))
        logits = functional.conv2d(features, head.weight, head.bias)[:, 0]  # no padding
        loss = functional.binary_cross_entropy_with_logits(logits, corrected)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        bar.update()
        if (step + 1) % LOG_EVERY == 0 or step + 1 == settings.steps:
            shown = float(loss.detach())
            log.add("gain", step + 1, shown, None, time.perf_counter() - started)
            bar.set_postfix(loss=f"{shown:.4f}")
    bar.close()


@torch.no_grad()
def describe(module: TwoStage, config: TrainConfig, batch: Batch) -> tuple[Tensor, Tensor]:
    """Describe the tiles in the middle of a batch's crops.

    Parameters
    ----------
    module : TwoStage
    config : TrainConfig
    batch : Batch
        Crops of stage 1.

    Returns
    -------
    features : (N, C, h + 2 r, w + 2 r) tensor
        What stage 1's last convolution sees, with the r pixels that it reaches to at each side.
    corrected : (N, h, w) tensor
        Share of each coarse pixel that stage 1 has wrong and stage 2 has right, in [0, 1].
    """
    stage2 = config.stage2
    if stage2 is None:
        raise ValueError("there is nothing to gain without a stage 2")
    ratio, halo = module.ratio, stage2.halo_px
    first, tile = config.stage1.halo_px, stage2.crop_px - 2 * halo
    count = (config.stage1.crop_px - 2 * first) // tile
    inner = slice(first, first + count * tile)
    device = batch.images.device
    half = config.precision == "bf16" and is_fast_in_bf16(device)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
        small = pad_to_multiple(coarsen(batch.images, ratio), module.stage1.stride)
        features = module.stage1.features(module.normalise(small))
        side = config.stage1.crop_px // ratio
        features = features[..., :side, :side]
        coarse = enlarge(module.stage1.classify(features).float(), batch.images.shape[1:3])
        wide = batch.images[:, first - halo : inner.stop + halo, first - halo : inner.stop + halo]
        fine = _labels(refine_windows(module, wide, stage2.crop_px, halo))
    truth = batch.masks[:, inner, inner]
    before = _labels(module.part(coarse)[0])[:, inner, inner]
    corrected = ((before != truth) & (fine == truth)).float()
    share = functional.avg_pool2d(corrected[:, None], ratio)[:, 0]
    reach = module.stage1.last.kernel_size[0] // 2
    seen = slice(first // ratio - reach, inner.stop // ratio + reach)
    return features.float()[..., seen, seen], share


def _labels(logits: Tensor) -> Tensor:
    """Class values (N, H, W) of logits (N, K, H, W)."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
