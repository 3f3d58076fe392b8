"""Verbs of training: ``train``, ``calibrate``, ``convert``, ``quantise`` and ``precision``.

The options are defined here, so that parsing a command line does not import torch.
"""

from __future__ import annotations

import argparse
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_twostage.cli.arguments import pixel_size
from napari_twostage.cli.interrupts import saving
from napari_twostage.errors import ModelError, TwoStageError
from napari_twostage.models.bundle import CARD, bundled_names
from napari_twostage.utils.timing import ROUNDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_twostage.cli.commands import VerbOutput
    from napari_twostage.training.datasets import Sample

EXAMPLE = "own.toml"
"""Configuration to start from, beside the package's training code."""
PAIRS = ("cpu:f32", "cpu:bf16", "openvino:f32", "openvino:bf16")
"""Devices and precisions that ``precision`` compares by default."""
_TRAINING = ("torch", "torchvision", "PIL")
_QUANTISING = ("torch", "openvino", "nncf")


class _PrintExample(argparse.Action):
    """Print the example configuration and exit, as ``--help`` does."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,  # noqa: ARG002 - argparse's signature
        values: str | Sequence[Any] | None,  # noqa: ARG002
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        example = files("napari_twostage.training") / EXAMPLE
        sys.stdout.write(example.read_text(encoding="utf-8"))
        parser.exit()


def add_train_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``train``."""
    verb.add_argument("config", type=Path, help="TOML file; --example prints one to start from")
    verb.add_argument("--data", type=Path, required=True, help="folder of the data set")
    verb.add_argument(
        "--out", type=Path, required=True, help="folder for weights, log and bundle; again to go on"
    )
    verb.add_argument(
        "--parts",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of single models that become stage 1, or both stages, and are not trained",
    )
    verb.add_argument(
        "--teacher",
        type=Path,
        metavar="RUN",
        help="folder of a single model to learn from; the configuration says how much",
    )
    verb.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    verb.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of the file's value: network.architecture=unet",
    )
    verb.add_argument(
        "--example", action=_PrintExample, nargs=0, help="print a configuration to start from"
    )


def train(options: argparse.Namespace) -> VerbOutput:
    """Train one configuration to its end."""
    _require(*_TRAINING)
    from napari_twostage.training.config import load_config
    from napari_twostage.training.run.run_folder import BUNDLE
    from napari_twostage.training.train import train as train_config

    config = load_config(options.config, options.set)
    with saving():
        train_config(
            config,
            options.data,
            options.out,
            device=options.device,
            parts=options.parts,
            teacher=options.teacher,
            progress=not options.quiet,
        )
    bundle = None if config.card is None else options.out / BUNDLE
    text = [f"weights    {options.out}"] + ([] if bundle is None else [f"bundle     {bundle}"])
    return {"out": str(options.out), "bundle": None if bundle is None else str(bundle)}, text, 0


def add_quantise_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``quantise``."""
    verb.add_argument("--model", type=Path, required=True, help="bundle folder; it is added to")
    verb.add_argument("images", type=Path, nargs="+", help="images or slides; 60 images will do")
    verb.add_argument("--mpp", type=pixel_size, help="µm per pixel, of images that state none")
    verb.add_argument(
        "--no-tissue", dest="tissue", action="store_false", help="take windows of glass as well"
    )


def quantise(options: argparse.Namespace) -> VerbOutput:
    """Add 8-bit integer networks to a bundle."""
    _require(*_QUANTISING)
    from napari_twostage.training.quantise import add_quantised

    file = add_quantised(
        _own_bundle(options.model),
        options.images,
        mpp=options.mpp,
        tissue=options.tissue,
        progress=not options.quiet,
    )
    return _written(file)


def add_convert_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``convert``."""
    verb.add_argument("model", type=Path, help="bundle folder; it is added to")


def convert(options: argparse.Namespace) -> VerbOutput:
    """Add converted networks to a bundle, which OpenVINO runs without torch."""
    _require("torch")
    from napari_twostage.training.convert import add_converted

    return _written(add_converted(_own_bundle(options.model)))


def add_calibrate_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``calibrate``."""
    verb.add_argument("config", type=Path, help="TOML file that the model was trained with")
    verb.add_argument(
        "--data", type=Path, required=True, help="folder of the data set, or the sets"
    )
    verb.add_argument("--model", type=Path, required=True, help="bundle folder; it is added to")
    verb.add_argument("--device", default="auto", help="auto, cpu, openvino, cuda or mps")


def calibrate(options: argparse.Namespace) -> VerbOutput:
    """Put the training images and the Dice that follows from them into a bundle's card."""
    _require(*_TRAINING)
    from napari_twostage.training.config import load_config
    from napari_twostage.training.domain import add_domain

    folder = _own_bundle(options.model)
    config = load_config(options.config)
    with saving():
        domain = add_domain(
            folder, config, options.data, device=options.device, progress=not options.quiet
        )
    kinds = {"bright field": domain.bright_field, "dark field": domain.dark_field}
    text = [
        f"{name:12} {kind.images:,} images of {kind.groups} groups"
        for name, kind in kinds.items()
        if kind is not None
    ]
    dice = domain.dice
    text.append(f"interval     {dice.coverage:.0%} of {dice.groups} groups, each left out in turn")
    return {"written": str(folder / CARD), "domain": domain.as_dict()}, text, 0


def _own_bundle(folder: Path) -> Path:
    """Folder of a model that is added to: not a bundled one, nor a zip."""
    if not folder.exists() and str(folder) in bundled_names():
        raise ModelError(
            f"{folder} is a bundled model, which has all that can be added; "
            "give the folder of a model of your own"
        )
    if folder.is_file():
        raise ModelError(f"{folder} is a file; give the folder of a model: unpack a zip first")
    return folder


def _written(file: Path) -> VerbOutput:
    size = file.stat().st_size
    return {"written": str(file), "bytes": size}, [f"{file}: {size / 1e6:.1f} MB"], 0


def add_precision_options(verb: argparse.ArgumentParser) -> None:
    """Add the options of ``precision``."""
    verb.add_argument("--model", default="nuclei", help="bundled name or bundle folder")
    verb.add_argument("--data", type=Path, required=True, help="folder with manifest.csv")
    images = verb.add_mutually_exclusive_group()
    images.add_argument("--split", default="test", help="of the manifest (default: test)")
    images.add_argument(
        "--held-out",
        type=Path,
        metavar="CONFIG",
        help="the images that training by this configuration held out, in place of a split",
    )
    verb.add_argument("--rounds", type=int, default=ROUNDS)
    verb.add_argument(
        "--on",
        nargs="+",
        default=PAIRS,
        metavar="DEVICE:PRECISION",
        help=f"the first is the reference (default: {' '.join(PAIRS)})",
    )
    verb.add_argument("--out", type=Path, required=True, help="folder of the table")
    verb.add_argument(
        "--write-card",
        action="store_true",
        help="state in the model's card what precisions lose against the first, which is f32, on "
        "images held out: `--precision auto` goes by it",
    )


def precision(options: argparse.Namespace) -> VerbOutput:
    """Compare devices and precisions, and write the table."""
    _require(*_TRAINING)
    from napari_twostage.training.precision import compare_precisions, state_losses

    if options.write_card:
        _require_fair(options)
        _own_bundle(Path(options.model))
    table, losses = compare_precisions(
        options.model,
        options.on,
        _samples(options),
        rounds=options.rounds,
        progress=not options.quiet,
    )
    table.write(options.out)
    if options.write_card:
        state_losses(Path(options.model), losses)
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    return {"rows": rows, "caption": table.caption}, table.to_markdown().splitlines(), 0


def _require_fair(options: argparse.Namespace) -> None:
    """Refuse to state losses against anything but f32, or such as a test split shows."""
    if options.held_out is None or not options.on[0].endswith(":f32"):
        raise TwoStageError(
            "--write-card states what is lost against f32 on images held out from training; give "
            "--held-out CONFIG, and a first pair of f32, such as --on openvino:f32 openvino:bf16"
        )


def _samples(options: argparse.Namespace) -> Sequence[Sample]:
    """Images to compare precisions on."""
    if options.held_out is None:
        from napari_twostage.training.datasets import load_split

        return load_split(options.data, options.split)
    from napari_twostage.training.config import load_config
    from napari_twostage.training.run.images import open_samples

    return open_samples(load_config(options.held_out), options.data)[1]


def _require(*modules: str) -> None:
    """Raise if a library of the extra ``train`` is not installed."""
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise TwoStageError(
            f"this verb needs {', '.join(missing)}, not installed here; "
            "pip install 'napari-twostage[train]'"
        )
