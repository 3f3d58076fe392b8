"""Plain image files (PNG, JPEG, ...) as slides, decoded as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError, reason_of
from napari_twostage.slides.arrays import open_arrays

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.arrays import ArraySlide


def open_image(
    path: Location, codec: str, *, mpp: float | Scale | None, channel: int | str | None
) -> ArraySlide:
    """Open a plain image.

    Parameters
    ----------
    path : Path or Url
        Image file, read as a whole.
    codec : str
        Codec of imagecodecs that decodes it.
    mpp : float or (float, float)
        Micrometres per pixel (y, x); the file's own value is for printing and is ignored.
    channel : int, optional
        Only 0, for grey images.

    Raises
    ------
    SlideError
        If the file is damaged, or `mpp` is missing.
    """
    import imagecodecs

    try:
        pixels = getattr(imagecodecs, f"{codec}_decode")(path.read_bytes())
    except (RuntimeError, ValueError, OSError) as error:
        raise SlideError(
            f"{path.name} is damaged ({reason_of(error)}); copy or export it again"
        ) from error
    if codec == "jpeg8" and pixels.shape[2:] == (4,):
        raise SlideError(f"{path.name} has CMYK pixels; convert it to RGB")
    return open_arrays(
        pixels,
        name=path.name,
        mpp=mpp,
        channel=channel,
        format=f"{codec.rstrip('8').upper()} image",
        path=path,
    )
