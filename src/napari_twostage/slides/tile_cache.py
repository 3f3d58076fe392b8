"""Cache of decoded tiles, bounded in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_twostage.geometry import Box

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray

    from napari_twostage.geometry import Shape


class TileCache:
    """Least-recently-used cache of the tiles of one slide, all levels; thread-safe.

    Parameters
    ----------
    max_bytes : int
        Size at which tiles are dropped, the least recently used first. The newest tile always
        stays, even if it alone is larger.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._tiles: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._loading: dict[Hashable, Future[NDArray[Any]]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the tile named `key`; `load` makes it if it is not in the cache.

        Threads that ask for the same tile at once wait for one of them to load it. All of them
        get an error of `load`, and the next caller tries again.
        """
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
                return tile
            loading = self._loading.get(key)
            if loading is None:
                mine = self._loading[key] = Future()
        if loading is not None:
            return loading.result()
        try:
            tile = load()
        except BaseException as error:
            self._finish(key)
            mine.set_exception(error)
            raise
        self._keep(key, tile)
        mine.set_result(tile)
        return tile

    def __contains__(self, key: Hashable) -> bool:
        return key in self._tiles

    def fill(
        self,
        pixels: NDArray[Any],
        box: Box,
        level: int,
        tile: Shape,
        load: Callable[[int, int, int], NDArray[Any]],
        *,
        at_once: int = 1,
    ) -> None:
        """Assemble a box of a level from tiles.

        Parameters
        ----------
        pixels : (box.height, box.width, C) array
            Output array.
        box : Box
            Rectangle inside the level.
        level : int
        tile : (int, int)
            Rows and columns of a tile.
        load : callable
            Makes a tile, (height, width, C), from its level, row and column.
        at_once : int
            Threads that load missing tiles; several hide the latency of a URL.
        """
        rows, columns = tile
        if at_once > 1:
            self._load_all(box.scaled((1 / rows, 1 / columns)), level, load, at_once)
        for row in range(box.top // rows, -(-box.bottom // rows)):
            for column in range(box.left // columns, -(-box.right // columns)):
                part = Box.at(row * rows, column * columns, rows, columns).intersect(box)
                held = self.get((level, row, column), partial(load, level, row, column))
                pixels[part.shift(-box.top, -box.left).slices] = held[
                    part.shift(-row * rows, -column * columns).slices
                ]

    def _load_all(
        self, cells: Box, level: int, load: Callable[[int, int, int], NDArray[Any]], at_once: int
    ) -> None:
        keys = [
            (level, row, column)
            for row in range(cells.top, cells.bottom)
            for column in range(cells.left, cells.right)
            if (level, row, column) not in self
        ]
        if len(keys) > 1:
            with ThreadPoolExecutor(min(at_once, len(keys)), "fetch") as pool:
                list(pool.map(lambda key: self.get(key, partial(load, *key)), keys))

    def clear(self) -> None:
        """Drop every tile."""
        with self._lock:
            self._tiles.clear()
            self._held_bytes = 0

    def _keep(self, key: Hashable, tile: NDArray[Any]) -> None:
        with self._lock:
            del self._loading[key]
            self._tiles[key] = tile
            self._held_bytes += tile.nbytes
            while self._held_bytes > self._max_bytes and len(self._tiles) > 1:
                self._held_bytes -= self._tiles.popitem(last=False)[1].nbytes

    def _finish(self, key: Hashable) -> None:
        with self._lock:
            del self._loading[key]
