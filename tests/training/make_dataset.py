"""A data set of a few dark fields with bright squares."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("a", "b", "c", "d")


def make_dataset(folder: Path, side: int = 96) -> Path:
    """Write images, masks and a manifest; the last image is the test split."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES:
        mask = np.zeros((side, side), bool)
        for top, left in rng.integers(0, side - 16, (8, 2)):
            mask[top : top + 16, left : left + 16] = True
        image = np.where(mask[..., None], 180, 40) + rng.integers(0, 30, (side, side, 3))
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    rows = [f"{name}.png,{'test' if name == NAMES[-1] else 'train'}" for name in NAMES]
    (folder / "manifest.csv").write_text("\n".join(["file,split", *rows]) + "\n")
    return folder
