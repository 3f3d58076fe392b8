"""Two stages against the dense run on a composite slide: ``python -m training.composite ...``.

Images of a test split are placed in islands on empty background, or with --empty edge to edge, and
written as a JPEG pyramid; the same engine segments it densely (one network at full resolution, over
the tissue only) and in two stages, in turn. O receives the slide and a table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from napari_twostage.errors import TwoStageError
from napari_twostage.models import load_model
from napari_twostage.slides import open_slide
from napari_twostage.training.datasets import load_dataset
from training.composite.methods import DENSE, Method, compare, load_dense
from training.composite.slide import compose_mosaic, compose_slide, write_slide

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Compose, segment, compare; returns 2 for errors that the user can correct."""
    parser = argparse.ArgumentParser(prog="python -m training.composite", description=__doc__)
    parser.add_argument("--model", default="nuclei", help="bundled name or bundle folder")
    parser.add_argument(
        "--dense", type=Path, required=True, metavar="RUN", help="folder of the dense network's run"
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--layout", default="manifest")
    parser.add_argument("--split", default="test")
    parser.add_argument("--ground", choices=("bright", "dark"), default="dark")
    parser.add_argument("--side", type=int, default=16384, help="of the slide, in pixels")
    parser.add_argument("--share", type=float, default=0.2, help="of it that holds images")
    parser.add_argument(
        "--empty",
        type=float,
        metavar="SHARE",
        help="fill all of it, edge to edge, this share with images without foreground",
    )
    parser.add_argument(
        "--thresholds", type=float, nargs="+", help="in place of the model's own threshold"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        samples = load_dataset(options.layout, options.data, options.split)
        composite = (
            compose_slide(
                samples,
                side_px=options.side,
                share=options.share,
                bright_field=options.ground == "bright",
            )
            if options.empty is None
            else compose_mosaic(samples, side_px=options.side, empty=options.empty)
        )
        model = load_model(options.model, precision="f32")
        dense = load_dense(options.dense, model, options.data)
    except TwoStageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    kind = options.ground if options.empty is None else "mosaic"
    path = options.out / f"{options.data.name}-{kind}.tif"
    write_slide(path, composite.image, model.card.fine_mpp)
    methods = {DENSE: Method(dense, None), "stage 1 only": Method(model, None)}
    for threshold in options.thresholds or [model.card.default_threshold]:
        methods[f"two stages, threshold {threshold:g}"] = Method(model, threshold)
    with open_slide(path, mpp=model.card.fine_mpp) as slide:
        tissue = None if options.empty is None else False
        table = compare(slide, composite, methods, options.rounds, tissue=tissue)
    table.write(options.out)
    sys.stdout.write(f"{table.to_markdown()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
