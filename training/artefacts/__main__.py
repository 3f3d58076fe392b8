"""Table of what is found of artefacts drawn on real tissue, and of what is found without any.

    python -m training.artefacts DATA
    python -m training.artefacts DATA --choose

The tissue is real, the artefacts are drawn: nobody has labelled any. An artefact's recall is the
share of its area inside the tissue that is marked as its kind, or for pens is not measured as
tissue. A false alarm is what is marked on slides on which nothing was drawn, as a share of tissue.
``--choose`` tries constants on the training splits and prints the best.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method.artefacts import Artefact
from training.artefacts.choosing import choose
from training.artefacts.measuring import drawn, found_on, shares
from training.artefacts.pictures import SECTIONS, pictures

if TYPE_CHECKING:
    from training.artefacts.pictures import Picture


def main() -> None:
    """Draw, look, and print two tables, or the best constants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--each", type=int, default=1, help="images of each slide of NuInsSeg")
    parser.add_argument("--drawn", type=int, default=5, help="one in so many slides is drawn on")
    parser.add_argument("--choose", action="store_true", help="try constants on training splits")
    options = parser.parse_args()
    known = list(pictures(options.data, options.each))
    started = time.process_time()
    if options.choose:
        sample = [one for one in known if one.name == SECTIONS["CMU-1-Small-Region.svs"]]
        lines = [choose(sample + [one for one in known if one.split == "train"][::2])]
    else:
        lines = tables(known, options.drawn)
    spent = f"{time.process_time() - started:.0f} CPU seconds"
    sys.stdout.write("\n".join([*lines, "", spent, ""]))


def tables(known: list[Picture], drawn_on: int) -> list[str]:
    """Lines of both tables: false alarms by set, and recall by kind."""
    alarms: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    found_shares: dict[str, list[float]] = defaultdict(list)
    for number, picture in enumerate(known):
        clean = found_on(picture.pixels, picture.mpp)
        if clean is None:
            continue
        alarms[picture.name, picture.split].append([clean.share(kind) for kind in Artefact])
        if number % drawn_on == 0 or picture.split == "section":
            for what, kind, (pixels, inside) in drawn(picture, number):
                found = found_on(pixels, picture.mpp) or clean
                for where, share in shares(kind, inside, clean.tissue, found).items():
                    found_shares[what + where].append(share)
    rows = ["| slides | number | " + " | ".join(kind.words for kind in Artefact) + " |"]
    rows.append("|---|---|" + "---|" * len(Artefact))
    for (name, split), of_set in alarms.items():
        cells = " | ".join(f"{share:.2%}" for share in np.mean(of_set, axis=0))
        rows.append(f"| {name} {split} | {len(of_set)} | {cells} |")
    rows += ["", "| drawn | slides | mean | least | most |", "|---|---|---|---|---|"]
    for what, values in found_shares.items():
        seen = np.array(values)[~np.isnan(values)]
        if len(seen):
            cells = f"{seen.mean():.3f} | {seen.min():.3f} | {seen.max():.3f}"
            rows.append(f"| {what} | {len(seen)} | {cells} |")
    return rows


if __name__ == "__main__":
    main()
