"""Connection to a cluster, an existing one or one started on this machine.

`distributed` is imported when it is first needed: importing this module must stay fast.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from napari_twostage.distributed.cluster import Cluster
from napari_twostage.errors import ClusterError
from napari_twostage.utils.threads import pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client, LocalCluster, Worker

PATIENCE_S = 30
"""Seconds to wait for a scheduler, and again for its first worker."""
_NO_LEAK_WARNING = "ignore::UserWarning:multiprocessing.resource_tracker"


@contextmanager
def connect(
    scheduler: str | None = None,
    *,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    patience_s: float = PATIENCE_S,
) -> Iterator[Cluster]:
    """Connect to a cluster, or start a local one that ends with the block.

    Exactly one of `scheduler` and `workers` must be given.

    Parameters
    ----------
    scheduler : str, optional
        Address of a dask scheduler, such as ``tcp://host:8786``.
    workers : int, optional
        Number of processes to start on this machine, at least 1.
    threads : int, optional
        Threads of the model in each local process; by default the machine's cores divided by
        `workers`.
    device, precision : str
        Device and precision of the workers; as for `load_model`.
    patience_s : float
        Seconds to wait for the scheduler, and again for its first worker.

    Yields
    ------
    Cluster

    Raises
    ------
    ClusterError
        If dask.distributed is not installed, if no scheduler or worker answers, or if not exactly
        one of `scheduler` and `workers` is given.

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
            _check_scheduler(scheduler, patience_s)
            client = stack.enter_context(_client(scheduler, patience_s))
            _wait_for_a_worker(client, scheduler, patience_s)
        else:
            with pool(1, "start-workers") as thread:  # which they inherit blocked signals from
                local = thread.submit(_local_cluster, workers or 0, threads).result()
            stack.enter_context(local)
            client = stack.enter_context(_client(local.scheduler_address, patience_s))
            _ignore_interrupts(client)
        yield Cluster(client, device=device, precision=precision)


def _check_scheduler(address: str, patience_s: float) -> None:
    """Raise if no scheduler answers; a client without one may hang when it is garbage collected."""
    from distributed.comm.core import connect as open_comm
    from distributed.security import Security

    async def open_and_close() -> None:
        keys = Security().get_connection_args("client")
        comm = await open_comm(address, timeout=patience_s, **keys)
        await comm.close()

    try:
        # In a thread of its own: this one may run an event loop, as in a notebook.
        with pool(1, "check-scheduler") as thread:
            thread.submit(asyncio.run, open_and_close()).result()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no scheduler answers at {address}; expected tcp://host:port of a dask scheduler: "
            "start one with 'dask scheduler', or check the address"
        ) from error


def _ignore_interrupts(client: Client) -> None:
    """Make workers ignore Ctrl-C, which a terminal sends to all processes; the owner handles it.

    A plugin also reaches workers that are restarted, and those of Windows.
    """
    from distributed import WorkerPlugin

    class IgnoreInterrupts(WorkerPlugin):
        name = "ignore-interrupts"

        def setup(self, worker: Worker) -> None:  # noqa: ARG002 - dask's signature
            """Run in the main thread of each worker process."""
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    client.register_plugin(IgnoreInterrupts())


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


def _shield_children() -> None:
    """Let processes that this thread starts begin with SIGINT blocked, which they inherit.

    A terminal sends Ctrl-C to all of them, also before `_ignore_interrupts` has reached them.
    Python's resource tracker unblocks it where it is started, so it is started first, and without
    its warning of what an interrupted process had no time to release.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        return
    from multiprocessing import resource_tracker

    sys.warnoptions.append(_NO_LEAK_WARNING)
    try:
        resource_tracker.ensure_running()
    finally:
        sys.warnoptions.remove(_NO_LEAK_WARNING)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _local_cluster(workers: int, threads: int | None) -> LocalCluster:
    if workers < 1:
        raise ClusterError(f"at least one worker is needed; found {workers}")
    import dask
    from dask.system import CPU_COUNT

    from distributed import LocalCluster

    _shield_children()
    each = threads or max(1, CPU_COUNT // workers)
    # dask sets OMP_NUM_THREADS=1 in this process too, which would limit its model to one thread
    with dask.config.set({"distributed.nanny.pre-spawn-environ": {}}):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=2,  # one task computes while another writes; see `worker`
            processes=True,
            memory_limit=None,  # a run bounds its memory itself
            silence_logs=logging.CRITICAL,  # problems that users can solve are raised as errors
            dashboard_address="127.0.0.1:0",  # any free port
            env={"OMP_NUM_THREADS": str(each)},
        )
