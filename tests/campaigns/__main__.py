"""Command line of the campaigns: ``python -m tests.campaigns NAME``."""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from tests.campaigns.runner import Outcome, table


def main() -> int:
    """Run a campaign; 1 if any case was neither right nor refused in one clear line."""
    options = _options()
    if not hasattr(os, "fork"):
        print("campaigns run each case in a fork: use Linux or macOS", file=sys.stderr)
        return 2
    name, _, way = options.name.partition(".")
    if not find_spec(f"tests.campaigns.{name}"):
        print(f"there is no campaign {name} in {Path(__file__).parent}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"tests.campaigns.{name}")
    campaign = partial(module.run_ways, [way]) if way else module.campaign
    folder = Path(options.keep or tempfile.mkdtemp(prefix=f"campaign-{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    gc.freeze()  # children share more of the parent's pages
    outcomes = []
    for outcome in campaign(options.count or module.COUNT, options.seed, folder):
        outcomes.append(outcome)
        if not outcome.is_good:
            print(_described(outcome), file=sys.stderr, flush=True)
    print(text := table(outcomes))
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")
    bad = sum(not outcome.is_good for outcome in outcomes)
    kept = f"; the inputs of {bad} that failed are in {folder}" if bad else ""
    print(_extremes(outcomes) + kept, file=sys.stderr)
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns", description=__doc__)
    parser.add_argument(
        "name", help="module of this folder, such as hostile; hostile.tiff is one way in alone"
    )
    parser.add_argument("--count", type=int, help="number of cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", help="file for the table, in Markdown")
    parser.add_argument("--keep", help="folder for inputs that fail; a new temporary one if unset")
    return parser.parse_args()


def _described(outcome: Outcome) -> str:
    return f"{outcome.kind.upper()} {outcome.name} ({outcome.seconds:.1f} s): {outcome.message}"


def _extremes(outcomes: list[Outcome]) -> str:
    if not outcomes:
        return "no cases"
    slowest = max(outcomes, key=lambda one: one.seconds)
    largest = max(outcomes, key=lambda one: one.extra_bytes)
    return (
        f"slowest {slowest.name} {slowest.seconds:.1f} s, "
        f"largest {largest.name} {largest.extra_bytes / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
