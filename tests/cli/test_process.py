"""The command line as a process: its streams, its last resort, its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from napari_twostage.cli import crash_log
from napari_twostage.cli.parser import main
from napari_twostage.samples import sample_slide

if TYPE_CHECKING:
    from collections.abc import Callable

POSIX = pytest.mark.skipif(os.name == "nt", reason="names that are no UTF-8, /dev/full")
COMMAND = [sys.executable, "-m", "napari_twostage"]
SLIDE = str(sample_slide())


def process(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a command; `env` is added to the environment."""
    environment = {**os.environ, **options.pop("env", {})}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([*COMMAND, *arguments], env=environment, check=False, **streams)


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "cp932", "latin-1", "ascii:strict"])
def test_every_encoding_takes_the_output(encoding: str) -> None:
    done = process("info", SLIDE, env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    assert done.returncode == 0
    text = done.stdout.decode(encoding.partition(":")[0])
    assert "2967 x 2220" in text.replace("×", "x")
    assert "um per pixel" in text.replace("µ", "u")
    assert done.stderr == b""


@POSIX
def test_names_that_are_no_utf8_are_shown_escaped(tmp_path: Path) -> None:
    name = os.fsdecode(b"no\xff.svs")
    done = process("info", name, cwd=tmp_path, env={"PYTHONIOENCODING": "utf-8"})
    assert done.returncode == 2
    assert done.stderr == b"napari-twostage: there is no file no\\xff.svs; check the path\n"
    try:
        (tmp_path / name).symlink_to(SLIDE)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    done = process("info", name, "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["name"] == name


@POSIX
def test_a_reader_that_leaves_is_no_error_and_a_full_disk_is() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for streams in ({"stdout": writing}, {"stderr": writing}):
        assert process("info", SLIDE, **streams).returncode == 0
    os.close(writing)
    if Path("/dev/full").exists():
        with Path("/dev/full").open("wb") as full:
            done = process("info", SLIDE, stdout=full)
        assert done.returncode == 1
        assert done.stderr.startswith(b"napari-twostage: standard output: the disk is full; ")
        assert done.stderr.count(b"\n") == 1


@POSIX
def test_closed_streams_are_no_error() -> None:
    words = " ".join([*COMMAND, "info", SLIDE])
    for closed in ("1>&-", "2>&-", "0<&- 1>&- 2>&-"):
        assert subprocess.run(f"{words} {closed}", shell=True, check=False).returncode == 0


# -- the last resort ---------------------------------------------------------------------------


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(crash_log, "log_folder", lambda: tmp_path / "logs")
    return tmp_path / "logs"


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Let opening a slide raise an error."""

    def set_up(error: BaseException) -> None:
        def raise_it(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("napari_twostage.cli.commands.open_slide", raise_it)

    return set_up


def test_an_unforeseen_error_is_one_line_with_a_log(
    logs: Path,
    fail: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail(KeyError("width"))
    assert main(["info", "https://me:secret@host/a.svs?signature=abc"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    (log,) = logs.glob("*.log")
    assert str(log) in err
    assert "KeyError: 'width'" in err
    text = log.read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "info https://...host/a.svs?..." in text
    assert "secret" not in text
    assert "numpy" in text  # versions


def test_old_logs_are_removed(
    logs: Path, fail: Callable[[BaseException], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.mkdir()
    for number in range(30):
        (logs / f"2020-01-{number:02}.log").touch()
    monkeypatch.setattr(crash_log, "KEPT", 3)
    fail(RuntimeError("boom"))
    assert main(["info", "a.svs"]) == 1
    assert len(list(logs.iterdir())) == 3
    assert any("boom" in log.read_text(encoding="utf-8") for log in logs.iterdir())


def test_the_line_comes_even_if_no_log_can_be_written(
    logs: Path,
    fail: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.write_text("a file where the folder should be")
    fail(RuntimeError("boom\nand more"))
    assert main(["info", "a.svs"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "boom and more" in err
    assert "--debug" in err


def test_debug_shows_the_traceback(
    logs: Path,
    fail: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fail(RuntimeError("boom"))
    assert main(["info", "a.svs", "--debug"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("napari-twostage: ")
    assert logs.is_dir()


FORESEEN = {
    "memory": (MemoryError("Unable to allocate 9 GiB"), "more memory than there is"),
    "disk": (OSError(28, "No space left on device", "/data/a.zarr"), "/data/a.zarr: the disk is"),
    "permission": (PermissionError(13, "Permission denied", "/data/a"), "/data/a: no permission"),
}


@pytest.mark.parametrize("what", FORESEEN)
def test_memory_and_storage_are_explained_without_a_log(
    what: str,
    logs: Path,
    fail: Callable[[BaseException], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    error, words = FORESEEN[what]
    fail(error)
    assert main(["info", "a.svs"]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not logs.exists()


def test_messages_of_libraries_go_to_the_log_and_not_to_the_user(
    logs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import logging

    def open_slide(*_: object, **__: object) -> None:
        logging.getLogger("tifffile").error("tag 700 is odd")
        logging.getLogger("napari_twostage.engine").warning("the slide is enlarged")
        raise RuntimeError("boom")

    monkeypatch.setattr("napari_twostage.cli.commands.open_slide", open_slide)
    assert main(["info", "a.svs"]) == 1
    err = capsys.readouterr().err
    assert "tag 700" not in err
    assert err.splitlines()[0] == "napari-twostage: the slide is enlarged"
    (log,) = logs.iterdir()
    assert "tag 700 is odd" in log.read_text(encoding="utf-8")
