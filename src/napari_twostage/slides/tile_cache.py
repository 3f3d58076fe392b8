"""Decoded tiles, kept while there is room."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from numpy.typing import NDArray


class TileCache:
    """The tiles used last, of all levels of one slide; safe to use from several threads.

    Parameters
    ----------
    max_bytes : int
        Tiles are dropped, longest unused first, when more bytes than this are held. The newest
        tile always stays, even when it alone is larger.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held_bytes = 0
        self._tiles: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._loading: dict[Hashable, Future[NDArray[Any]]] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, load: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the tile named `key`; `load` makes it where it is not held.

        Threads that ask for the same tile at once wait for one of them to load it; an error of
        `load` reaches all of them, and the next caller tries again.
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
