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

import numpy as np

from napari_twostage.method.artefacts import Artefact
from training.artefacts.choosing import choose
from training.artefacts.measuring import drawn, found_on, shares
from training.artefacts.pictures import pictures


def main() -> None:
    """Draw, look, and print two tables, or the best constants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--each", type=int, default=1, help="images of each slide of NuInsSeg")
    parser.add_argument("--drawn", type=int, default=5, help="one in so many slides is drawn on")
    parser.add_argument("--choose", action="store_true", help="try constants on training splits")
    options = parser.parse_args()
    if options.choose:
        training = [one for one in pictures(options.data, options.each) if one.split == "train"]
        for line in choose(training[:: options.drawn // 2]):
            sys.stdout.write(f"{line}\n")
        return
    started = time.process_time()
    alarms: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    found_shares: dict[str, list[float]] = defaultdict(list)
    for number, picture in enumerate(pictures(options.data, options.each)):
        clean = found_on(picture.pixels, picture.mpp)
        if clean is None:
            continue
        alarms[picture.name, picture.split].append([clean.share(kind) for kind in Artefact])
        if number % options.drawn == 0 or picture.split in ("outside", "section"):
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
        known = np.array(values)[~np.isnan(values)]
        if len(known):
            cells = f"{known.mean():.3f} | {known.min():.3f} | {known.max():.3f}"
            rows.append(f"| {what} | {len(known)} | {cells} |")
    rows.append(f"\n{time.process_time() - started:.0f} CPU seconds")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
