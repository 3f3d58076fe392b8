"""Values of TIFF pixels: which samples are read, and what their bits mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_twostage.errors import SlideError
from napari_twostage.slides.planes import as_pixels, pixel_type
from napari_twostage.slides.view import on_white

if TYPE_CHECKING:
    from collections.abc import Sequence

    import tifffile
    from numpy.typing import NDArray

_WHITE_IS_ZERO, _RGB, _YCBCR = 0, 2, 6
_YCBCR_CODECS = {6, 7, 33003, 33004, 33005, 33007, 34712, 34892}
"""Compressions whose decoders convert YCbCr to RGB."""
_ALPHAS: dict[int, Literal["premultiplied", "plain"]] = {1: "premultiplied", 2: "plain"}
"""Meaning of the tag ExtraSamples (TIFF 6.0, section 18); 0 is an unspecified sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelFormat:
    """Meaning of a page's samples, and of those that are read."""

    samples: tuple[int, ...]
    """Samples of the file's pixels that are read, in this order; the alpha last."""
    stored: np.dtype[Any]
    """Type as decoded."""
    bits: int
    """Bits of a sample in the file."""
    inverted: bool
    """Whether 0 means white."""
    alpha: Literal["premultiplied", "plain"] | None
    """Meaning of the last of `samples`; None if it is no alpha."""

    @property
    def keeps_alpha(self) -> bool:
        """Whether the alpha is passed on; if not, the colours are laid over white here."""
        return self.alpha == "plain" and len(self.samples) == 4 and self.dtype != np.float32

    @property
    def channels(self) -> int:
        """Values of each pixel as `shown` returns them."""
        return len(self.samples) - (self.alpha is not None and not self.keeps_alpha)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels as `shown` returns them."""
        return pixel_type(self.stored)

    @property
    def background(self) -> int:
        """Value of the pixels of tiles that the file omits, as `shown` returns them.

        An empty tile is glass on a bright-field slide, and dark on a fluorescence slide.
        """
        if len(self.samples) < 3 or self.dtype == np.float32:
            return 0
        return int(np.iinfo(self.dtype).max)

    def shown(self, pixels: NDArray[Any]) -> NDArray[np.generic]:
        """Convert decoded samples to the slide's pixels.

        Samples of fewer than 8 bits are scaled to 0..255, and white-is-zero pixels are inverted
        within their bits. All else is as in `planes.as_pixels`.

        Parameters
        ----------
        pixels : (h, w, S) array
            The samples that are read, as decoded.

        Returns
        -------
        (h, w, `channels`) array of `dtype`.
        """
        if self.bits < 8:
            full = 2**self.bits - 1
            scale = np.rint(np.arange(full + 1) * (255 / full)).astype(np.uint8)
            pixels = scale[pixels.astype(np.uint8) & full]
        if self.inverted:
            pixels = self._inverted(pixels)
        if self.alpha is not None and not self.keeps_alpha:
            pixels = self._on_white(pixels)
        return as_pixels(pixels)

    def _inverted(self, pixels: NDArray[Any]) -> NDArray[Any]:
        if pixels.dtype.kind == "f":
            return -pixels
        if pixels.dtype.kind == "i":
            return np.asarray(np.invert(pixels))
        full = pixels.dtype.type(2 ** max(8, self.bits) - 1)
        return np.asarray(full - pixels)

    def _on_white(self, pixels: NDArray[Any]) -> NDArray[Any]:
        colours, alpha = pixels[..., :-1], pixels[..., -1:]
        if self.dtype != np.float32:
            if self.alpha == "plain":  # grey: as colours of which one is kept
                return on_white(np.concatenate([colours, colours, colours, alpha], -1))[..., :1]
            white = pixels.dtype.type(np.iinfo(pixels.dtype).max)
            # colours above their alpha, which compression may cause, stay within white
            return np.asarray(np.minimum(colours, alpha) + (white - alpha))
        full = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
        part = alpha / full
        laid: NDArray[Any] = colours * (part if self.alpha == "plain" else 1) + (1 - part) * full
        return laid


def is_rgb(page: tifffile.TiffPage) -> bool:
    """Whether the page holds colours rather than channels."""
    return int(page.photometric) in {_RGB, _YCBCR} and page.samplesperpixel >= 3


def channel_samples(page: tifffile.TiffPage) -> int:
    """Samples of a pixel that are channels, to be chosen among; 1 for colours."""
    if is_rgb(page) or _grey_alpha(page):
        return 1
    return int(page.samplesperpixel)


def pixel_format(page: tifffile.TiffPage, samples: Sequence[int] | None = None) -> PixelFormat:
    """Meaning of a page's pixels.

    Parameters
    ----------
    page : tifffile.TiffPage
        Keyframe that `check_pixels` accepts.
    samples : sequence of int, optional
        Samples to read of a page of channels; by default its colours and their alpha, or its one
        grey value.
    """
    extra = [int(value) for value in page.extrasamples or ()]
    alpha = None
    if samples is None:
        colours = 3 if is_rgb(page) else 1
        samples = range(colours)
        if is_rgb(page) or _grey_alpha(page):
            # a sample beyond the colours that is not stated to be an alpha is something else
            alpha = _ALPHAS.get(extra[0]) if extra else None
        samples = range(colours + (alpha is not None))
    return PixelFormat(
        samples=tuple(samples),
        stored=np.dtype(str(page.dtype.name if page.dtype is not None else "")),
        bits=int(page.bitspersample),
        inverted=int(page.photometric) == _WHITE_IS_ZERO,
        alpha=alpha,
    )


def ignored_sample(page: tifffile.TiffPage) -> str | None:
    """Notice of samples beyond the colours whose meaning the file does not state."""
    if not is_rgb(page) or page.samplesperpixel == 3:
        return None
    extra = [int(value) for value in page.extrasamples or ()]
    if extra and extra[0] in _ALPHAS:
        return None
    return (
        f"pixels have {page.samplesperpixel} samples, and the file does not say that the fourth is "
        "an alpha (ExtraSamples); red, green and blue are read"
    )


def check_pixels(page: tifffile.TiffPage) -> None:
    """Refuse pixels that are neither grey, nor RGB, nor numbers.

    Raises
    ------
    SlideError
        The message begins with its verb, to follow the file's name.
    """
    kind = None if page.dtype is None else np.dtype(page.dtype).kind
    if kind not in {"b", "u", "i", "f"} or not isinstance(page.bitspersample, int):
        found = "an unknown type" if page.dtype is None else str(page.dtype)
        raise SlideError(f"has {found} pixels; convert it to uint8 or uint16")
    mixed = int(page.photometric) == _YCBCR and int(page.compression) not in _YCBCR_CODECS
    if mixed or int(page.photometric) not in {0, 1, _RGB, _YCBCR}:
        name = getattr(page.photometric, "name", page.photometric)
        raise SlideError(f"has {name} pixels, grey or RGB were expected; convert it to RGB")


def _grey_alpha(page: tifffile.TiffPage) -> bool:
    """Whether a page holds one grey value and an alpha."""
    extra = [int(value) for value in page.extrasamples or ()]
    return page.samplesperpixel == 2 and len(extra) == 1 and extra[0] in _ALPHAS
