"""Plain image files (PNG, JPEG, ...) as slides, decoded as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_twostage.errors import SlideError, TwoStageError, reason_of
from napari_twostage.io.url import Url
from napari_twostage.slides.arrays import open_arrays
from napari_twostage.slides.image_headers import is_whole_bmp, read_header
from napari_twostage.slides.limits import DECODING_BYTES, check_sides

if TYPE_CHECKING:
    from napari_twostage.geometry import Scale
    from napari_twostage.io.paths import Location
    from napari_twostage.slides.arrays import ArraySlide
    from napari_twostage.slides.picture import Picture


def open_image(
    path: Location, codec: str, *, mpp: float | Scale | None, picture: Picture
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
    picture : Picture
        As for `Slide`; of channels there is 0 only, for grey images.

    Raises
    ------
    SlideError
        If the file is damaged, or `mpp` is missing.
    """
    import imagecodecs

    try:
        pixels = getattr(imagecodecs, f"{codec}_decode")(_checked_bytes(path))
    except TwoStageError:
        raise
    except Exception as error:  # damage raises whatever the decoder's next line raises
        raise SlideError(
            f"{path.name} is damaged ({reason_of(error)}); copy or export it again"
        ) from error
    if codec == "jpeg8" and pixels.shape[2:] == (4,):
        raise SlideError(f"{path.name} has CMYK pixels; convert it to RGB")
    return open_arrays(
        pixels,
        name=path.name,
        mpp=mpp,
        picture=picture,
        format=f"{codec.rstrip('8').upper()} image",
        path=path,
    )


def _checked_bytes(path: Location) -> bytes:
    """Read a file whose image, decoded, has its place in memory.

    Raises
    ------
    SlideError
        If its header promises more, or ends early.
    """
    size = path.size() if isinstance(path, Url) else path.stat().st_size
    if size > DECODING_BYTES:
        raise _too_large(path, size)
    data = path.read_bytes()
    header = read_header(data)
    if header is None or (data[:2] == b"BM" and not is_whole_bmp(data)):
        raise SlideError(
            f"{path.name} is damaged (its header does not fit it); copy or export it again"
        )
    try:
        check_sides(header.height, header.width)
    except SlideError as error:
        raise SlideError(f"{path.name} {error}") from None
    memory = header.height * header.width * header.bytes_per_pixel
    if memory > DECODING_BYTES:
        raise _too_large(path, memory)
    return data


def _too_large(path: Location, size: int) -> SlideError:
    return SlideError(
        f"{path.name} takes {size / 2**30:.1f} GiB to be decoded as a whole, at most "
        f"{DECODING_BYTES / 2**30:.1f} are taken; convert it to a tiled TIFF, with: "
        "vips tiffsave IN OUT --tile --pyramid --bigtiff"
    )
