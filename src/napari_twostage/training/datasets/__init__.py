"""Images and masks of published data sets, of folders and of annotated slides.

`load_dataset` reads every layout; ``layouts.py`` lists them.
"""

from napari_twostage.training.datasets.annotated_slides import mpp_range
from napari_twostage.training.datasets.layouts import LAYOUTS, load_dataset
from napari_twostage.training.datasets.manifest import groups, load_split
from napari_twostage.training.datasets.samples import (
    CachedSamples,
    DatasetError,
    Sample,
    Samples,
    hold_out,
)
from napari_twostage.training.datasets.splits import assign_folds

__all__ = [
    "LAYOUTS",
    "CachedSamples",
    "DatasetError",
    "Sample",
    "Samples",
    "assign_folds",
    "groups",
    "hold_out",
    "load_dataset",
    "load_split",
    "mpp_range",
]
