"""The pages link to pages that exist, and name modules that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "napari_twostage"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "sample_data" / "README.md"])
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]*)(?:#([^)\s]+))?\)")
MODULE = re.compile(r"`((?:\w+/)+(?:[\w.]+\.(?:py|toml|md))?|\w+\.py)`")
IN_A_RESULT = {"handover/", "journal/", "overview/", "pyramid/", "undo/"}


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    headings = re.findall(r"^#+ +(.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page):
    broken = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        place = (page.parent / target).resolve() if target else page
        if not place.exists() or (anchor and anchor not in anchors(place)):
            broken.append(f"{target}#{anchor}")
    assert not broken


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_modules_that_are_named_exist(name):
    named = set(MODULE.findall((ROOT / name).read_text(encoding="utf-8"))) - IN_A_RESULT
    assert len(named) > 20
    missing = {path for path in named if not (PACKAGE / path).exists()}
    assert not {path for path in missing if not (ROOT / path).exists()}


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_bytes()) < 6_000
