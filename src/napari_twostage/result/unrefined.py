"""A result as it was before refinement, from the logits of stage 1, which every result keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_twostage.method.tiling import TileState
from napari_twostage.result.result import Result

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_twostage.geometry import Box


class UnrefinedResult(Result):
    """The same result as if no tile had been refined, to read from; edits stay.

    It shares the opened folder, so it follows all changes.

    Parameters
    ----------
    result : Result
        The result.
    """

    def __init__(self, result: Result) -> None:
        self.__dict__.update(vars(result))
        self.__dict__.pop("labels", None)  # lazy arrays of the other

    @property
    def refined(self) -> NDArray[np.bool_]:
        """No tiles: (rows, columns)."""
        return np.zeros(self.tiles.shape, bool)

    @property
    def states(self) -> NDArray[np.uint8]:
        """`tiling.TileState` of each tile (rows, columns); coarse where it was refined."""
        states = super().states
        states[states == TileState.REFINED] = TileState.COARSE
        return states

    def read_labels(self, box: Box, level: int = 0) -> NDArray[np.uint8]:
        """Labels of a box inside a level: edited, else upsampled coarse ones."""
        files = self._files
        return files.read(lambda: files.store.read_labels(box, level, refined=False))

    def read_depth(self, box: Box) -> NDArray[np.uint8]:
        """Depth inside objects by stage 1, of a box of the fine grid."""
        return self._files.store.read_depth(box, refined=False)
