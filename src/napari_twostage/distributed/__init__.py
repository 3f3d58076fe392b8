"""Runs on many processes and machines, with dask.distributed."""

from __future__ import annotations

from napari_twostage.distributed.cluster import Cluster
from napari_twostage.distributed.connection import connect

__all__ = ["Cluster", "connect"]
