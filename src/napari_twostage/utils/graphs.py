"""Groups of items that are connected by pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def connect(
    count: int, first: NDArray[np.integer], second: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Number the groups of items that are connected by pairs.

    Parameters
    ----------
    count : int
        Items.
    first, second : (m,) int array
        Pairs of items.

    Returns
    -------
    (count,) int array
        Group of each item, from 0, in the order of each group's first item.

    Examples
    --------
    >>> connect(4, np.array([0, 3]), np.array([2, 1])).tolist()
    [0, 1, 0, 1]
    """
    from scipy.sparse import coo_array, csr_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(first))
    if len(first) and (first[1:] >= first[:-1]).all():  # sorted already, as contacts are
        rows = np.concatenate([[0], np.cumsum(np.bincount(first, minlength=count))])
        graph = csr_array((ones, second, rows), shape=(count, count))
    else:
        graph = coo_array((ones, (first, second)), shape=(count, count)).tocsr()
    numbers = connected_components(graph, directed=False)[1]
    return np.asarray(numbers, np.int64)
