"""The protocol of processes that a run can be given to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari_twostage.geometry import Box
    from napari_twostage.method.selection import Plan, Selection
    from napari_twostage.method.steps import Step
    from napari_twostage.models.model import Model
    from napari_twostage.result.result import Result


class Executor(Protocol):
    """Processes that both stages can be given to: a `distributed.Cluster`."""

    def check(self, result: Result) -> None:
        """Refuse a result that other processes cannot open.

        Raises
        ------
        SegmentationError
            With the reason.
        """

    def precision(self, result: Result, model: Model) -> str:
        """Precision that a run of the result computes in.

        Parameters
        ----------
        result, model : Result, Model
            As for `run_stages`.
        """

    def run_stages(
        self,
        result: Result,
        model: Model,
        windows: Sequence[Box],
        wanted: Selection | Plan,
    ) -> Generator[Step, None, None]:
        """Run the remaining work of both stages and record it.

        Parameters
        ----------
        result : Result
            Its tissue is known.
        model : Model
            Sizes of batches; the executor's processes load it again.
        windows : sequence of Box
            Cores of the coarse windows that are left.
        wanted : Selection or Plan
            The tiles to refine.
        """
