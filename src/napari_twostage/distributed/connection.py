"""Finding a cluster, or starting one on this machine."""

from __future__ import annotations

import asyncio
import logging
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_twostage.distributed.cluster import Cluster
from napari_twostage.errors import ClusterError
from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client, LocalCluster

PATIENCE_S = 30
"""How long to wait for a scheduler, and then for its first worker."""


@contextmanager
def connect(
    scheduler: str | None = None,
    *,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "f32",
    patience_s: float = PATIENCE_S,
) -> Iterator[Cluster]:
    """Use a cluster that is there, or a local one that ends with the block.

    Parameters
    ----------
    scheduler : str, optional
        Address of a dask scheduler, ``tcp://host:8786``; or else
    workers : int, optional
        processes to start on this machine.
    threads : int, optional
        Of the model in each of these; by default the machine's cores divided by `workers`.
    device, precision : str
        What workers compute on; as for `load_model`.
    patience_s : float
        Seconds to wait for the scheduler, and then for its first worker.

    Raises
    ------
    ClusterError
        If dask.distributed is not installed, or no scheduler or worker answers.

    Examples
    --------
    >>> with connect(workers=4) as cluster:  # doctest: +SKIP
    ...     seg = segment("slide.svs", "nuclei", "slide.twostage.zarr", cluster=cluster)
    """
    if not find_spec("distributed"):
        raise ClusterError(
            "a cluster needs dask.distributed, which is not installed; "
            "pip install 'napari-twostage[distributed]'"
        )
    if (scheduler is None) == (workers is None):
        raise ClusterError("give the address of a scheduler, or a number of workers to start")
    with ExitStack() as stack:
        if scheduler is not None:
            _find(scheduler, patience_s)
            client = stack.enter_context(_client(scheduler, patience_s))
            _wait_for_a_worker(client, scheduler, patience_s)
        else:
            local = stack.enter_context(_local_cluster(workers or 0, threads))
            client = stack.enter_context(_client(local.scheduler_address, patience_s))
            from napari_twostage.distributed.interrupt import LeaveInterruptsToOwner

            client.register_plugin(LeaveInterruptsToOwner())
        yield Cluster(client, device=device, precision=precision)


def _find(address: str, patience_s: float) -> None:
    """Make sure of a scheduler: a client that finds none may hang when it is collected."""
    from distributed.comm.core import connect as reach
    from distributed.security import Security

    async def knock() -> None:
        keys = Security().get_connection_args("client")
        comm = await reach(address, timeout=patience_s, **keys)
        await comm.close()

    try:
        with pool(1, "knock") as thread:  # this one may have a loop of its own: in a notebook
            thread.submit(asyncio.run, knock()).result()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no scheduler answers at {address}; expected tcp://host:port of a dask scheduler: "
            "start one with 'dask scheduler', or check the address"
        ) from error


def _client(address: str, patience_s: float) -> Client:
    from distributed import Client

    return Client(address, timeout=patience_s, set_as_default=False)


def _wait_for_a_worker(client: Client, address: str, patience_s: float) -> None:
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError:
        raise ClusterError(
            f"the scheduler at {address} has no workers; start some with 'dask worker {address}'"
        ) from None


def _local_cluster(workers: int, threads: int | None) -> LocalCluster:
    if workers < 1:
        raise ClusterError(f"at least one worker is needed; found {workers}")
    import dask
    from dask.system import CPU_COUNT

    from distributed import LocalCluster

    each = threads or max(1, CPU_COUNT // workers)
    # dask's own settings would also reach this process, and keep the model to one thread
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=2,  # one task computes, another writes; see `worker`
            processes=True,
            memory_limit=None,  # a run bounds its memory itself
            silence_logs=logging.CRITICAL,  # what the user can act on comes as an error
            dashboard_address="127.0.0.1:0",  # any free port
            env={"OMP_NUM_THREADS": str(each)},
        )
