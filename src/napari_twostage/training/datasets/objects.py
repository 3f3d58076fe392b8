"""Targets of the networks' object output, from instances or from masks split at their necks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from napari_twostage.training.datasets.image_files import DAMAGED
from napari_twostage.training.datasets.samples import DatasetError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_twostage.models.card import ObjectTarget

NECK = 0.1
"""Dip between two parts of a region, as a share of the regions' typical radius, that splits it."""
EDGE_PX = 2.0
"""Width of an object's edge in pixels of the model, inside the object."""


def read_instances(path: Path) -> NDArray[np.int32]:
    """Read an image of instance numbers, 0 for the background.

    Raises
    ------
    DatasetError
        If the file cannot be read, or holds colours.
    """
    try:
        with Image.open(path) as image:
            numbers = np.asarray(image)
    except DAMAGED as error:
        raise DatasetError(f"{path} cannot be read as an image; export it again") from error
    if numbers.ndim != 2:
        raise DatasetError(f"{path} holds colours; expected one number for each pixel")
    return numbers.astype(np.int32)


def split_at_necks(mask: NDArray[np.generic]) -> NDArray[np.int32]:
    """Number the objects of a (H, W) mask that joins those that touch: it is cut where it narrows.

    Watershed of the distance to the background, from maxima that stand out by `NECK` of the
    typical radius: the median over connected regions of their largest distance.
    """
    regions, count = ndimage.label(mask)
    if not count or np.all(mask):
        one: NDArray[np.int32] = regions.astype(np.int32)
        return one
    depth = ndimage.distance_transform_edt(mask)
    smooth = ndimage.gaussian_filter(depth, 1.0)
    radius = float(np.median(ndimage.maximum(depth, regions, range(1, count + 1))))
    seeds = ndimage.label(h_maxima(smooth, max(0.5, NECK * radius)) * (mask != 0))[0]
    missed = np.setdiff1d(np.arange(1, count + 1), regions[seeds > 0])
    seeds[np.isin(regions, missed)] = seeds.max() + regions[np.isin(regions, missed)]
    split: NDArray[np.int32] = watershed(-smooth, seeds, mask=mask != 0).astype(np.int32)
    return split


def object_target(
    instances: NDArray[np.integer], kind: ObjectTarget, *, zoom: float = 1.0
) -> NDArray[np.uint8]:
    """Draw the target of the object output.

    Parameters
    ----------
    instances : (H, W) int array
        Numbers of objects, 0 for the background.
    kind : str
        ``distance``: distance to the outside of the object, as a share of the object's largest.
        ``boundary``: 1 on the object's edge, `EDGE_PX` wide.
    zoom : float
        Pixels of the model per pixel of the image.

    Returns
    -------
    (H, W) uint8 array
        Target times 255.
    """
    depth = _depth(instances)
    if kind == "boundary":
        return np.where((depth > 0) & (depth * zoom <= EDGE_PX), 255, 0).astype(np.uint8)
    highest = ndimage.maximum(depth, instances, np.arange(instances.max() + 1))
    scale = np.divide(255.0, highest, out=np.zeros(len(highest)), where=np.asarray(highest) > 0)
    target: NDArray[np.uint8] = np.rint(depth * scale[instances]).astype(np.uint8)
    return target


def _depth(instances: NDArray[np.integer]) -> NDArray[np.float64]:
    """Distance of each object's pixels to the nearest pixel that is not the object's.

    Pixels that touch another object are the sources for it; the image's rim is none, since an
    object may go on beyond it.
    """
    inner = instances > 0
    for axis in (0, 1):
        differ = np.diff(instances, axis=axis) != 0
        pad = [(0, 0), (0, 0)]
        pad[axis] = (1, 0)
        touches = np.pad(differ, pad)
        pad[axis] = (0, 1)
        inner &= ~(touches | np.pad(differ, pad))
    if inner.all():
        return np.ones(inner.shape)  # one object without an edge
    # pixels at the edge lie half a pixel inside
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(inner) + 0.5
    return np.where(instances > 0, depth, 0.0)
