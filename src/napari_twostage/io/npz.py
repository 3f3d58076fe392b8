"""Small arrays by name in one file, here or elsewhere."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_twostage.io.paths import write_whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_twostage.io.paths import Location


def save_arrays(place: Location, **arrays: ArrayLike) -> None:
    """Write arrays so that a crash leaves no half file."""
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)  # type: ignore[arg-type]  # its one flag
    write_whole(place, data.getvalue())


def load_arrays(place: Location) -> dict[str, NDArray[Any]]:
    """Read what `save_arrays` wrote; FileNotFoundError where there is nothing."""
    with np.load(io.BytesIO(place.read_bytes()), allow_pickle=False) as saved:
        return dict(saved)
