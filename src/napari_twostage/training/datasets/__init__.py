"""Images with masks from published data sets, from folders and from annotated slides."""

from napari_twostage.training.datasets.layouts import LAYOUTS, load_dataset
from napari_twostage.training.datasets.manifest import groups, load_split
from napari_twostage.training.datasets.sample import (
    DatasetError,
    Facts,
    KeptSamples,
    Sample,
    Samples,
    describe,
    hold_out,
)
from napari_twostage.training.datasets.slides import mpp_range
from napari_twostage.training.datasets.splits import assign_folds

__all__ = [
    "LAYOUTS",
    "DatasetError",
    "Facts",
    "KeptSamples",
    "Sample",
    "Samples",
    "assign_folds",
    "describe",
    "groups",
    "hold_out",
    "load_dataset",
    "load_split",
    "mpp_range",
]
