"""One plane of a stack that others have opened, or the maximum over its planes, as an array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.slides.planes import PROJECTION, maximum_over

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StackPlane:
    """Array that reads one plane of a stack, or the maximum over all, where it is indexed.

    Parameters
    ----------
    stack : array-like
        (planes, height, width), with colours as a last axis or without; numpy, dask or zarr.
    focus : int or "max"
        Number of the plane; or the maximum.
    planes : int
        Planes of the finest level, which `focus` counts: a coarser one may have fewer.

    Examples
    --------
    >>> stack = np.arange(12).reshape(3, 2, 2)
    >>> StackPlane(stack, 1, 3)[0:1, :], StackPlane(stack, "max", 3)[0:1, :]
    (array([[4, 5]]), array([[8, 9]]))
    """

    def __init__(self, stack: Any, focus: int | Literal["max"], planes: int) -> None:  # noqa: ANN401
        self._stack = stack
        self._numbers = range(stack.shape[0])
        if focus != PROJECTION:
            number = focus * stack.shape[0] // planes
            self._numbers = range(number, number + 1)
        self.shape: tuple[int, ...] = tuple(stack.shape[1:])
        self.dtype = stack.dtype
        chunks = getattr(stack, "chunksize", None) or getattr(stack, "chunks", None)
        self.chunksize = None if chunks is None else tuple(chunks[1:])

    def __getitem__(self, index: Any) -> NDArray[Any]:  # noqa: ANN401 - any numpy index
        parts = index if isinstance(index, tuple) else (index,)
        return maximum_over(self._numbers, lambda number: np.asarray(self._stack[(number, *parts)]))
