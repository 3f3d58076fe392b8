"""A connection that fails says in one line what to do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from distributed import LocalCluster
from napari_twostage.distributed import connect
from napari_twostage.errors import ClusterError

SOON_S = 1.0


def refused(**options: object) -> str:
    with pytest.raises(ClusterError) as caught, connect(**options):  # type: ignore[arg-type]
        pass
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_no_scheduler_answers() -> None:
    said = refused(scheduler="tcp://127.0.0.1:9", patience_s=SOON_S)
    assert "no scheduler answers at tcp://127.0.0.1:9" in said
    assert "start one with 'dask scheduler'" in said


@pytest.mark.parametrize("address", ["nowhere at all", "tcp://127.0.0.1"])
def test_no_address(address: str) -> None:
    assert "expected tcp://host:port" in refused(scheduler=address, patience_s=SOON_S)


def test_a_scheduler_without_workers() -> None:
    with LocalCluster(n_workers=0, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        said = refused(scheduler=cluster.scheduler_address, patience_s=SOON_S)
    assert "has no workers; start some with 'dask worker" in said


def test_neither_or_both() -> None:
    assert refused() == refused(scheduler="tcp://127.0.0.1:9", workers=2)


def test_no_workers_to_start() -> None:
    assert "at least one worker" in refused(workers=0)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_twostage.distributed.connection.find_spec", lambda _: None)
    assert "pip install 'napari-twostage[distributed]'" in refused(workers=2)


def test_importing_the_package_does_not_load_dask() -> None:
    code = (
        "import sys, napari_twostage.distributed\n"
        "sys.exit(', '.join({'dask', 'distributed'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
