"""Writers of OME-Zarr folders as converters lay them out, and of small LIF and CZI files."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Pixels = NDArray[Any]


def ngff_attributes(
    axes: str,
    scales: Sequence[float],
    *,
    version: str = "0.4",
    unit: str | None = "micrometer",
    omero: Mapping[str, Any] | None = None,
    name: str = "image",
) -> dict[str, Any]:
    """Attributes of an image: `scales` are the pixel sizes (y and x) of its levels.

    Versions before 0.4 state no scales, before 0.3 no axes.
    """
    types = {"t": "time", "c": "channel"}
    described: list[Any] = []
    for axis in axes:
        space = axis.lower() in "zyx"
        described.append(
            {"name": axis, "type": types.get(axis.lower(), "space")}
            | ({"unit": unit} if unit and space else {})
        )
    datasets: list[dict[str, Any]] = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [size if a in "yxYX" else 1.0 for a in axes]}
            ],
        }
        for level, size in enumerate(scales)
    ]
    image: dict[str, Any] = {"name": name, "axes": described, "datasets": datasets}
    if version < "0.4":
        image = {"name": name, "datasets": [{"path": one["path"]} for one in datasets]}
    if version == "0.3":
        image["axes"] = list(axes)
    if version == "0.5":
        inner = {"version": version, "multiscales": [image]}
        return {"ome": inner | ({"omero": dict(omero)} if omero else {})}
    image["version"] = version
    return {"multiscales": [image]} | ({"omero": dict(omero)} if omero else {})


def write_ngff(
    folder: Path,
    levels: Sequence[Pixels],
    axes: str,
    *,
    mpp: float = 0.5,
    scales: Sequence[float] | None = None,
    version: str = "0.4",
    chunk: int = 64,
    shard: int | None = None,
    **options: Any,
) -> Path:
    """Write an image with zarr itself."""
    fmt = 3 if version == "0.5" else 2
    group = zarr.open_group(folder, mode="w", zarr_format=fmt)
    for level, pixels in enumerate(levels):
        sides = {axis: chunk if axis in "yxYX" else 1 for axis in axes}
        chunks = tuple(sides[axis] for axis in axes)
        more: dict[str, Any] = {}
        if shard:
            more["shards"] = tuple(sides[a] * (shard if a in "yxYX" else 1) for a in axes)
        if fmt == 3:
            more["dimension_names"] = list(axes)
        else:
            more["chunk_key_encoding"] = {"name": "v2", "separator": "/"}
        group.create_array(str(level), data=pixels, chunks=chunks, **more)
    scales = scales or [mpp * 2**level for level in range(len(levels))]
    group.attrs.update(ngff_attributes(axes, scales, version=version, **options))
    return folder


def write_bioformats2raw(
    folder: Path,
    series: Mapping[str, Pixels],
    *,
    version: str = "0.4",
    listed: bool = True,
    **options: Any,
) -> Path:
    """Write RGB series by name, as bioformats2raw does: numbered, named in the OME-XML."""
    fmt = 3 if version == "0.5" else 2
    root = zarr.open_group(folder, mode="w", zarr_format=fmt)
    layout = {"bioformats2raw.layout": 3}
    root.attrs.update({"ome": {"version": version, **layout}} if fmt == 3 else layout)
    for number, pixels in enumerate(series.values()):
        planes = [np.ascontiguousarray(np.moveaxis(pixels, -1, 0))]
        write_ngff(folder / str(number), planes, "cyx", version=version, **options)
    ome = root.create_group("OME")
    if listed:
        paths = {"series": [str(number) for number in range(len(series))]}
        ome.attrs.update({"ome": {"version": version, **paths}} if fmt == 3 else paths)
    images = "".join(f'<Image ID="Image:{n}" Name="{name}"/>' for n, name in enumerate(series))
    text = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{images}</OME>'
    (folder / "OME" / "METADATA.ome.xml").write_text(text)
    return folder


def write_plate(folder: Path, fields: Mapping[str, Pixels]) -> Path:
    """Write grey fields by path, such as A/1/0, as a plate of version 0.4."""
    root = zarr.open_group(folder, mode="w", zarr_format=2)
    wells: dict[str, list[str]] = {}
    for path, pixels in fields.items():
        well, _, field = path.rpartition("/")
        wells.setdefault(well, []).append(field)
        root.require_group(well)
        write_ngff(folder / path, [pixels], "yx")
    rows, columns = (sorted({well.split("/")[part] for well in wells}) for part in (0, 1))
    for well, names in wells.items():
        images = [{"path": name} for name in names]
        zarr.open_group(folder / well, mode="r+").attrs["well"] = {
            "version": "0.4", "images": images,
        }  # fmt: skip
    root.attrs["plate"] = {
        "version": "0.4",
        "rows": [{"name": name} for name in rows],
        "columns": [{"name": name} for name in columns],
        "wells": [
            {
                "path": well,
                "rowIndex": rows.index(well.split("/")[0]),
                "columnIndex": columns.index(well.split("/")[1]),
            }
            for well in wells
        ],
    }
    return folder


def write_lif(
    path: Path, images: Mapping[str, tuple[Pixels, Sequence[str]]], *, mpp: float = 0.5
) -> Path:
    """Write a Leica file: (C, Z, Y, X) pixels and names of channels, by names of images."""
    elements, blocks = "", b""
    for number, (name, (pixels, channels)) in enumerate(images.items()):
        data = np.ascontiguousarray(pixels.transpose(1, 0, 2, 3)).tobytes()
        elements += _lif_element(name, number, pixels, channels, mpp, len(data))
        block = f"MemBlock_{number}"
        blocks += struct.pack(
            "<IIBQBI", 0x70, 14 + 2 * len(block), 0x2A, len(data), 0x2A, len(block)
        )
        blocks += block.encode("utf-16-le") + data
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="a.lif" Visibility="1" CopyOption="1" '
        'UniqueID="root"><Data><Experiment Path="a.lif"/></Data><Memory Size="0" '
        f'MemoryBlockID="MemBlock_none"/><Children>{elements}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    head = struct.pack("<IIBI", 0x70, 5 + 2 * len(text), 0x2A, len(text))
    path.write_bytes(head + text.encode("utf-16-le") + blocks)
    return path


def _lif_element(
    name: str, number: int, pixels: Pixels, channels: Sequence[str], mpp: float, size: int
) -> str:
    count, depth, height, width = pixels.shape
    item = pixels.dtype.itemsize
    plane = height * width * item
    described = "".join(
        f'<ChannelDescription DataType="0" ChannelTag="0" Resolution="{8 * item}" '
        f'NameOfMeasuredQuantity="" Min="0" Max="255" Unit="" LUTName="{channel}" '
        f'IsLUTInverted="0" BytesInc="{index * plane}" BitInc="0"/>'
        for index, channel in enumerate(channels)
    )
    axes = [(1, width, mpp, item), (2, height, mpp, width * item)]
    if depth > 1:
        axes.append((3, depth, 1.0, count * plane))
    dimensions = "".join(
        f'<DimensionDescription DimID="{axis}" NumberOfElements="{length}" Origin="0" '
        f'Length="{(length - 1) * step * 1e-6!r}" Unit="m" BitInc="0" BytesInc="{stride}"/>'
        for axis, length, step, stride in axes
    )
    return (
        f'<Element Name="{name}" Visibility="1" CopyOption="1" UniqueID="u{number}"><Data>'
        f"<Image TextDescription=''><ImageDescription><Channels>{described}</Channels>"
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription></Image></Data>"
        f'<Memory Size="{size}" MemoryBlockID="MemBlock_{number}"/><Children/></Element>'
    )


def add_czi_levels(path: Path, marks: Mapping[tuple[int, int], int]) -> None:
    """Make levels of a CZI file of tiles that were written beside it at their reduced size.

    pylibCZIrw writes no levels. A tile of one is told from others by a stored size smaller than
    the size that it covers, which is stated in the directory and before the tile's own pixels.

    Parameters
    ----------
    path : Path
        File, changed in place.
    marks : mapping of (int, int) to int
        Reduction by the stored (width, height), which no other tile may have.
    """
    data = bytearray(path.read_bytes())
    for (width, height), factor in marks.items():
        for axis, size in ((b"X\0\0\0", width), (b"Y\0\0\0", height)):
            at = data.find(axis)
            while at >= 0:
                _, covered, _, stored = struct.unpack_from("<iifi", data, at + 4)
                if covered == stored == size:
                    struct.pack_into("<i", data, at + 8, size * factor)
                at = data.find(axis, at + 4)
    path.write_bytes(data)
