"""Verification and repair of a result folder: ``info --check`` and ``info --repair``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_twostage.cli.failures import DONE, FAILED
from napari_twostage.errors import SelectionError
from napari_twostage.result.check import check_metadata, repair_metadata
from napari_twostage.result.result import Result

if TYPE_CHECKING:
    from argparse import Namespace

    from napari_twostage.result.findings import Finding


def check_result(options: Namespace) -> tuple[dict[str, Any], list[str], int]:
    """Say what of a result is whole, what would be computed again, and what is lost."""
    if options.path is None:
        raise SelectionError("info --check needs a result: name its folder")
    findings = check_metadata(options.path)
    unopened = bool(findings) and not options.repair
    if options.repair:
        repair_metadata(options.path)
        findings += Result.open(options.path).repair()
    elif not findings:
        findings = Result.open(options.path).check()
    left = [one for one in findings if one.verdict != "restored" or not options.repair]
    summary = {
        "out": str(options.path),
        "whole": not left,
        "repaired": options.repair and bool(findings),
        "findings": [finding._asdict() for finding in findings],
    }
    return summary, _lines(options, findings, unopened=unopened), FAILED if left else DONE


def _lines(options: Namespace, findings: list[Finding], *, unopened: bool) -> list[str]:
    if not findings:
        return [f"whole      {options.path}: pixels, tables, journal and edits are as written"]
    text = [f"{one.verdict:14} {one.file}: {one.what}" for one in findings]
    verdicts = {one.verdict for one in findings}
    if unopened:
        text.append("the rest can be verified once these are restored: info --check --repair")
    elif not options.repair and "restored" in verdicts:
        text.append("info --check --repair restores; segment and refine do so, too")
    if "computed again" in verdicts:
        text.append("repeat the command that made the result: it computes these parts again")
    return text
