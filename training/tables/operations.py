"""Table 1: parameters and operations of the architectures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision import models as zoo

from napari_twostage.models.cost import count_macs, count_paper_operations, count_parameters
from napari_twostage.models.networks.build import build_network
from napari_twostage.training.evaluation.table import Table
from training.tables.printed import read_printed

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = (
    "architecture",
    "parameters (M)",
    "parameters (M), paper",
    "input (px)",
    "operations (M)",
    "operations (M), paper",
    "deviation (%)",
    "MACs (M)",
    "MACs, deviation (%)",
)
CAPTION = (
    "Parameters include the auxiliary head of DeepLabV3 and FCN, which the paper counts. "
    "Operations are counted as the paper does: multiply-accumulates, four for each value that a "
    "batch norm puts out and one for each that a global pooling takes in. MACs are "
    "multiply-accumulates alone, without the auxiliary head, which is dead weight at inference, "
    "and without batch norms, which fold into convolutions; our other tables count these. "
    "The paper calls operations FLOPs and prints the sizes as 96, 192, 192, 384, 768. "
    "SegNet at 48 px: the paper's last convolution sees the 64 px that five doublings make of it."
)


def make_table1() -> Table:
    """Count parameters and operations; nothing is run and no weights are needed."""
    paper = read_printed("table1")
    table = Table("table1", HEADER, CAPTION)
    sides = paper.pop("sides_px")
    for name, printed in paper.items():
        with torch.device("meta"):
            counted, lean = BUILDERS[name]
            whole, used = counted(), lean()
        for side, operations in zip(sides, printed["operations_m"], strict=True):
            shape = (1, 3, side, side)
            ours = count_paper_operations(whole, shape) / 1e6
            macs = count_macs(used, shape) / 1e6
            table.add(
                {
                    "architecture": printed["name"],
                    "parameters (M)": f"{count_parameters(whole) / 1e6:.1f}",
                    "parameters (M), paper": f"{printed['parameters_m']:.1f}",
                    "input (px)": str(side),
                    "operations (M)": f"{ours:.0f}",
                    "operations (M), paper": f"{operations}",
                    "deviation (%)": _deviation(ours, operations),
                    "MACs (M)": f"{macs:.0f}",
                    "MACs, deviation (%)": _deviation(macs, operations),
                }
            )
    return table


def _deviation(ours: float, theirs: float) -> str:
    # + 0 turns a negative zero into zero
    return f"{round(100 * (ours / theirs - 1), 2) + 0:+.2f}"


def _encoder() -> nn.Module:
    """ResNet-50 as the table counts it: without pooling and classifier."""
    network: nn.Module = zoo.resnet50()
    network.avgpool = network.fc = nn.Identity()
    return network


def _network(name: str, **options: bool) -> Callable[[], nn.Module]:
    return lambda: build_network({"name": name, **options})


BUILDERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "resnet50": (_encoder, _encoder),
    "deeplabv3": (_network("deeplabv3", aux=True), _network("deeplabv3")),
    "unet": (_network("unet"), _network("unet")),
    "segnet": (_network("segnet"), _network("segnet")),
    "fcn": (_network("fcn", aux=True), _network("fcn")),
}
"""Each network as the paper counts it, and as it runs."""
