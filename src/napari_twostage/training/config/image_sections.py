"""Configuration of the images: [data], [augmentation], [whole_images] and [tiles]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from napari_twostage.models.card import Uncertainty  # noqa: TC001 - read at runtime
from napari_twostage.training.config.sections import require


@dataclass(frozen=True, kw_only=True)
class ClassConfig:
    """A foreground class; its value in the masks is its position in the list, from 1."""

    name: str
    color: str = ""
    """``#rrggbb``, in the viewer and in colour-coded masks; empty: chosen for the card."""

    @property
    def text(self) -> str:
        """The class as `napari_twostage.training.datasets.load_dataset` takes it."""
        return f"{self.name}={self.color}" if self.color else self.name


@dataclass(frozen=True, kw_only=True)
class SetConfig:
    """One of several data sets that a run learns from."""

    folder: str
    """Folder below the run's data."""
    layout: str = "manifest"
    mpp: float | None = None
    """Micrometres per pixel of its images, which are resampled to the model's; None: images are
    taken as they are, whatever their pixel size."""
    weight: float = 1.0
    """Share of the crops, relative to the other sets."""
    by_group: bool = False
    """Draw every group (slide, organ, patient) of the manifest alike, not every image."""

    def __post_init__(self) -> None:
        require(self.weight > 0, "weight must be positive")
        require(self.mpp is None or self.mpp > 0, "mpp must be positive")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Selection of images, and how often each is drawn."""

    layout: str = "manifest"
    """Folder layout: a name that `datasets.load_dataset` knows."""
    split: str = "train"
    masks: str = "masks"
    """Folder of the masks, for layout ``manifest``: a set may have several kinds."""
    reduce: int = 1
    """Images and masks are read at 1 / reduce of their resolution, along a side."""
    seed: int = 0
    """Seed of the split, for layouts that come without one."""
    folds: int = 0
    """Number of folds for cross-validation, dealt by `seed`, groups kept together; 0: none."""
    fold: int = 0
    """Fold that is left out of the training altogether."""
    limit: int = 0
    """Number of images of the split to use, drawn by `seed`; 0: all."""
    validation_fraction: float = 0.15
    """Share of the split that is held out: used to validate and calibrate, never to train."""
    bright_field_weight: float = 1.0
    """Relative frequency of bright-field images among the crops."""
    classes: tuple[ClassConfig, ...] = ()
    """Empty: one foreground class, as the layout defines it."""
    mpp: float | None = None
    """Micrometres per pixel at which slides are read, and to which sets are resampled."""
    sets: tuple[SetConfig, ...] = ()
    """Data sets below the run's data, learnt together; empty: the folder itself is the set."""
    foreground_share: float = 0.33
    """Share of the crops that are placed on foreground, each class of an image as often as the
    others; the rest fall anywhere."""
    error_share: float = 0.2
    """Share of the crops of the second half of the steps that are placed on pixels which the
    network had wrong midway."""

    def __post_init__(self) -> None:
        inside = bool(self.masks) and not set(self.masks) & set("/\\:") and self.masks != ".."
        require(inside, "masks must be the name of a folder")
        sized = any(entry.mpp is not None for entry in self.sets)
        require(not sized or self.mpp is not None, "sets that state an mpp need the model's mpp")
        require(not (self.sets and self.folds), "folds need a single set")
        placed = self.foreground_share >= 0 and self.error_share >= 0
        fits = placed and self.foreground_share + self.error_share <= 1
        require(fits, "foreground_share and error_share must be in [0, 1], and so must their sum")
        require(0 <= self.validation_fraction < 1, "validation_fraction must be in [0, 1)")
        require(self.folds == 0 or self.folds >= 2, "folds must be 0 for none, or 2 and more")
        require(0 <= self.fold < max(1, self.folds), "fold must be one of the folds, from 0")
        require(self.reduce >= 1, "reduce must be 1 or more")
        require(self.limit >= 0, "limit must be 0 for all images, or their number")
        require(self.mpp is None or self.mpp > 0, "mpp must be positive")

    @property
    def outputs(self) -> int:
        """Logits per pixel: 1 for a single class, else one per class and one for the background."""
        return 1 if len(self.classes) <= 1 else len(self.classes) + 1


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Strength of the augmentation of crops; ranges are sampled uniformly, scale log-uniformly."""

    scale: tuple[float, float] = (0.6, 1.5)
    bright_field_scale: tuple[float, float] = (0.3, 1.4)
    """Lower than `scale`: BOWL's stained images are magnified more than slides at 0.5 µm/px."""
    brightness: float = 0.12
    """For bright-field images; dark-field ones only get brighter, else nuclei sink into black."""
    contrast: float = 0.3
    gamma: float = 0.35
    stain: float = 0.25
    """Relative change of each stain's density, on bright-field images."""
    stain_transfer: float = 0.0
    """Share of the bright-field crops that take the stains and the white of another image."""
    white: tuple[float, float] = (0.0, 0.0)
    """Range of the white that bright-field images get, in [0, 1]: that of the light and the camera
    differs more between laboratories than stains do. Zeros: it is left as it is."""
    grey: float = 0.1
    """Share of crops that lose their colours."""
    blur: float = 0.1
    """Share of crops that are slightly blurred."""
    blur_px: float = 0.0
    """Largest standard deviation of a Gaussian blur; 0: the mean of 3 × 3 pixels."""
    jpeg: float = 0.0
    """Share of crops that are compressed, at a quality of 30 to 90."""
    noise: float = 0.0
    """Largest standard deviation of added noise, in values of [0, 1]."""
    sharpen: float = 0.0
    """Share of the crops that are sharpened, of those that are not blurred."""
    density: tuple[float, float] = (1.0, 1.0)
    """Range of a factor on all optical densities of bright-field images, sampled log-uniformly."""
    pale: float = 0.0
    """Share of the bright-field crops whose objects turn pale inside; see `loop.tissue`."""
    tint: float = 0.0
    """Share of the bright-field crops whose eosin turns into haematoxylin outside objects."""

    def __post_init__(self) -> None:
        require(0 < self.density[0] <= self.density[1], "density must be positive and ascending")

    @property
    def needs_stains(self) -> bool:
        """Whether the stains of bright-field images have to be known."""
        return max(self.stain_transfer, self.pale, self.tint, *self.white) > 0


@dataclass(frozen=True, kw_only=True)
class WholeImages:
    """Size and augmentation of whole images, as in the paper; ranges are sampled uniformly."""

    size_px: int
    """Side of the square that every image is resized to, whatever its shape."""
    flip: bool = True
    """Mirror every other image, left to right."""
    brightness: float = 0.1
    """Values are multiplied by 1 − brightness to 1 + brightness ..."""
    contrast: float = 0.1
    """... and their distance from the image's mean by 1 − contrast to 1 + contrast."""
    scale: float = 1.1
    """Factor by which images are enlarged before they are cropped at a random place."""
    rotation_degrees: float = 0.0
    """Largest rotation either way; pixels from outside the image are mirrored in."""


@dataclass(frozen=True, kw_only=True)
class TilesConfig:
    """Selection of the tiles of a whole image that stage 2 is trained on."""

    selection: Literal["random", "weighted", "highest"] = "weighted"
    count: int = 1
    """Tiles per image and step."""
    uncertainty: Uncertainty = "tent"

    def __post_init__(self) -> None:
        require(self.count >= 1, "count must be 1 or more")
