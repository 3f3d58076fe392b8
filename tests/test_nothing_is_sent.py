"""Nothing is sent anywhere: no lookup, no connection, and no trace in the home folder."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

RECORDER = """
import os, sys

def record(event, arguments):
    if event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.connect", "socket.sendto"}:
        with open(os.environ["RECORDED"], "a", encoding="utf-8") as file:
            file.write(f"{event} {arguments!r}\\n")

sys.addaudithook(record)
"""
"""Run by Python before anything else, in the process and those that it starts."""
LOOKUP = "import socket; socket.getaddrinfo('localhost', 80)"
IMPORTS = """
from napari_twostage.models.backends import conversion, openvino
from napari_twostage.training import quantise
import nncf, sys
assert sys.modules["openvino_telemetry"] is None
"""
LOCAL = ("'127.0.0.1'", "'localhost'", "'::1'")
"""Addresses within this machine: processes of a local cluster talk over them."""


class Observed:
    """Processes in a home folder of their own, whose lookups and connections are recorded."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._recorded = folder / "recorded"
        (folder / "recorder").mkdir()
        (folder / "recorder" / "sitecustomize.py").write_text(RECORDER, encoding="utf-8")
        self.home.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "MPLCONFIG"))}
        paths = [str(folder / "recorder"), *sys.path]
        self._environment = kept | {
            "HOME": str(self.home),
            "USERPROFILE": str(self.home),
            "LOCALAPPDATA": str(self.home / "local"),
            "APPDATA": str(self.home / "roaming"),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "RECORDED": str(self._recorded),
        }

    def python(self, *arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=self._environment,
            cwd=self.home.parent,
        )
        assert done.returncode == 0, done.stderr

    @property
    def calls(self) -> list[str]:
        """Lookups and connections beyond this machine."""
        if not self._recorded.exists():
            return []
        lines = self._recorded.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not any(local in line for local in LOCAL)]

    @property
    def written(self) -> list[Path]:
        """Files at home beside our cache."""
        files = (path for path in self.home.rglob("*") if path.is_file())
        return [path for path in files if "napari-twostage" not in path.parts]


@pytest.fixture
def observed(tmp_path: Path) -> Observed:
    return Observed(tmp_path)


def test_a_lookup_would_be_seen(observed: Observed) -> None:
    observed.python("-c", LOOKUP.replace("localhost", "0.0.0.0"))
    assert len(observed.calls) == 1


def test_the_demo_sends_nothing_and_leaves_nothing_at_home(observed: Observed) -> None:
    observed.python("-m", "napari_twostage", "demo", "--out", "demo", "--refine", "none", "--quiet")
    assert (observed.home.parent / "demo" / "overview.png").exists()
    assert observed.calls == []
    assert observed.written == []


def test_converting_and_quantising_send_nothing(observed: Observed) -> None:
    pytest.importorskip("nncf")
    observed.python("-c", IMPORTS)
    assert observed.calls == []
    assert observed.written == []
