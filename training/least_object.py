"""Areas of outlined nuclei, to choose a model's least object area.

    python -m training.least_object DATA/BOWL --mpp 0.5

Reads the training split of a data set as in `shared/data`: instances where there are any, else the
connected regions of the masks, in which touching nuclei are one.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERCENTILES = (1, 2, 3, 5, 10, 50)
LEAST_UM2 = (5.0, 8.0, 10.0)


def main() -> None:
    """Print percentiles of the areas, and what lies below each whole one of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path, help="folder with images/, masks/ and manifest.csv")
    parser.add_argument("--mpp", type=float, required=True, help="micrometres per pixel")
    options = parser.parse_args()
    areas = areas_px(options.data) * options.mpp**2
    lines = [f"{len(areas):,} nuclei"]
    for percent, area in zip(PERCENTILES, np.percentile(areas, PERCENTILES), strict=True):
        share = areas[areas < area].sum() / areas.sum()
        lines.append(
            f"{percent:3} % are below {area:6.1f} µm², with {100 * share:.2f} % of the area"
        )
    lines += [
        f"{100 * (areas < least).mean():.1f} % are below {least:g} µm²" for least in LEAST_UM2
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def areas_px(data: Path) -> NDArray[np.int64]:
    """Pixels of each nucleus of the training split: (n,)."""
    with (data / "manifest.csv").open(encoding="utf-8", newline="") as file:
        names = [Path(row["file"]).stem for row in csv.DictReader(file) if row["split"] == "train"]
    found = []
    for name in names:
        instances = data / "instances" / f"{name}.png"
        if instances.exists():
            numbers = np.asarray(Image.open(instances))
        else:
            numbers, _ = ndimage.label(np.asarray(Image.open(data / "masks" / f"{name}.png")))
        sizes = np.bincount(numbers.ravel())[1:]
        found.append(sizes[sizes > 0])
    return np.concatenate(found)


if __name__ == "__main__":
    main()
