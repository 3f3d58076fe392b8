"""Table of what is found of artefacts drawn on real tissue, and of what is found without any.

    python -m training.artefacts DATA

The tissue is real, the artefacts are drawn: nobody has labelled any. An artefact's recall is the
share of its area inside the tissue that is marked as its kind, or for pens is not measured as
tissue. A false alarm is what is marked on slides on which nothing was drawn, as a share of tissue.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.method.artefacts import Artefact
from napari_twostage.method.tissue import Tissue, find_tissue
from napari_twostage.slides import open_slide
from training.artefacts.drawing import PENS, draw_blur, draw_fold, draw_pen
from training.artefacts.pictures import SECTIONS, SETS, Picture, pictures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from training.artefacts.drawing import Drawn

STROKE_UM = (500.0, 1000.0)
FOLD_UM = (50.0, 100.0, 150.0)
BLUR_UM = {"gaussian": (2.0, 3.0, 4.0, 6.0), "disk": (4.0, 8.0)}
OF_SETS = {"human": "NuInsSeg", "mouse": "NuInsSeg", **{name: name for name in SETS}}


def drawn(picture: Picture, seed: int) -> Iterator[tuple[str, Artefact, Drawn]]:
    """Each artefact, drawn on a picture."""
    rng, mpp = np.random.default_rng(seed), picture.mpp
    for pen in PENS:
        for strength in (0.5, 1.0):
            width = STROKE_UM[int(rng.integers(2))] / mpp
            image = draw_pen(picture.pixels, pen, strength, width, rng)
            yield f"{pen} pen, density {strength:g}", Artefact.PEN, image
    for width_um in FOLD_UM:
        image = draw_fold(picture.pixels, picture.glass, width_um / mpp, rng)
        yield f"fold {width_um:g} µm", Artefact.FOLD, image
    for kind, radii in BLUR_UM.items():
        for radius in radii:
            image = draw_blur(picture.pixels, kind, radius / mpp, rng)
            yield f"blur {kind} {radius:g} µm", Artefact.OUT_OF_FOCUS, image


def found_on(pixels: NDArray[np.uint8], mpp: float) -> Tissue | None:
    """Tissue and artefacts; None where there is no tissue."""
    try:
        return find_tissue(open_slide(pixels, mpp=mpp))
    except SlideError:
        return None


def coarse(mask: NDArray[np.bool_], found: Tissue) -> NDArray[np.bool_]:
    """Mask of the slide on the overview's grid: pixels of which most is inside."""
    step = round(found.grid.downsample[0])
    height, width = found.grid.shape
    around = np.zeros((height * step, width * step), bool)
    around[: mask.shape[0], : mask.shape[1]] = mask
    return np.asarray(around.reshape(height, step, width, step).mean(axis=(1, 3)) > 0.5)


def recall(
    kind: Artefact, inside: NDArray[np.bool_], clean: Tissue, found: Tissue
) -> dict[str, float]:
    """Shares of an artefact's area that are found, on tissue and, for pens, on glass."""
    there = coarse(inside, clean)
    on_tissue, on_glass = there & clean.measured, there & ~clean.mask
    if kind is not Artefact.PEN:
        return {"": _share(found.artefacts == kind, on_tissue)}
    return {
        " on tissue": _share(~found.measured, on_tissue),
        " on glass": _share(~found.measured, on_glass),
    }


def _share(mask: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float(mask[of].mean()) if of.any() else float("nan")


def main() -> None:
    """Draw, look, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--each", type=int, default=3, help="images of each slide of NuInsSeg")
    parser.add_argument(
        "--drawn", type=int, default=6, help="one in so many slides is drawn on; 0: none"
    )
    options = parser.parse_args()
    alarms: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    recalls: dict[str, list[float]] = defaultdict(list)
    for number, picture in enumerate(pictures(options.data, options.each)):
        clean = found_on(picture.pixels, picture.mpp)
        if clean is None:
            continue
        tissue = max(1, int(clean.measured.sum()))
        shares = tuple(float((clean.artefacts == kind).sum()) / tissue for kind in Artefact)
        alarms[OF_SETS.get(picture.name.split("_")[0], picture.name), picture.split].append(shares)
        if max(shares) > 0.01:
            sys.stderr.write(f"{number} {picture.name} {picture.split} {np.round(shares, 3)}\n")
        is_section = picture.name in {name[:8] for name in SECTIONS}
        if options.drawn and (number % options.drawn == 0 or is_section):
            for what, kind, (pixels, inside) in drawn(picture, number):
                found = found_on(pixels, picture.mpp)
                for where, share in recall(kind, inside, clean, found or clean).items():
                    recalls[what + where].append(share)
    rows = ["| slides | number | " + " | ".join(kind.words for kind in Artefact) + " |"]
    rows.append("|---|---|" + "---|" * len(Artefact))
    for (name, split), found_shares in alarms.items():
        cells = " | ".join(f"{100 * share:.2f} %" for share in np.mean(found_shares, axis=0))
        rows.append(f"| {name} {split} | {len(found_shares)} | {cells} |")
    rows += ["", "| drawn | slides | recall, mean | median |", "|---|---|---|---|"]
    for what, values in recalls.items():
        known = np.array(values)[~np.isnan(values)]
        if len(known):
            middle = np.median(known)
            rows.append(f"| {what} | {len(known)} | {known.mean():.2f} | {middle:.2f} |")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
