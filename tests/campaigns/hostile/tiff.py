"""TIFF files of every kind with damage in their tables or anywhere else."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import imagecodecs
import numpy as np
import openslide
import tifffile
from tests.campaigns.hostile import Case
from tests.campaigns.hostile.mutations import INTERESTING, MUTATIONS
from tests.campaigns.hostile.slide_use import use_slide
from tests.slide_files import halved, write_bif, write_ndpi, write_ome, write_scn, write_svs

from napari_twostage.geometry import Box
from napari_twostage.samples import sample_slide
from napari_twostage.slides import open_slide

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

_ = imagecodecs.jpeg8_decode, imagecodecs.jpeg2k_decode, openslide.OpenSlide
_CODES = (
    254, 255, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 284, 296, 305, 317,
    320, 322, 323, 324, 325, 330, 338, 339, 347, 513, 514, 530, 532, 700, 32997, 32998, 33445,
    33449, 33628, 33629, 33723, 34118, 34122, 34361, 34362, 34412, 42112, 42113, 43314, 50838,
    50839, 51023, 51123, 65420, 65421, 65426, 65432, 65442,
)  # fmt: skip
"""Tags that tifffile looks at."""
_SHARE_OF_TAGS = 0.6
"""Share of cases whose damage is in one to three entries of the tables."""


@dataclass(frozen=True, slots=True)
class Seed:
    """A good file, and where the entries of its tables are."""

    name: str
    ending: str
    data: bytes
    entries: tuple[int, ...]
    is_big: bool
    order: str


def cases(rng: random.Random, folder: Path) -> Iterator[Case]:
    """Yield damaged files without end."""
    seeds = _seeds(folder)
    number = 0
    while True:
        for seed in seeds:
            number += 1
            if seed.entries and rng.random() < _SHARE_OF_TAGS:
                kind, data = "tags", _with_other_tags(rng, seed)
            else:
                kind, mutate = rng.choice(MUTATIONS)
                data = mutate(rng, bytearray(seed.data))
            name = f"{seed.name}-{kind}-{number}"
            path = folder / f"{name}{seed.ending}"
            path.write_bytes(data)
            mpp = rng.choice((None, 0.5))
            channel = rng.choice((None, None, None, 0))
            yield Case(name=name, use=partial(use_slide, path, mpp=mpp, channel=channel), file=path)


def _with_other_tags(rng: random.Random, seed: Seed) -> bytearray:
    """Change the code, type, count or value of one to three entries."""
    data = bytearray(seed.data)
    fields = ((0, "H"), (2, "H"), (4, "Q"), (12, "Q")) if seed.is_big else (
        (0, "H"), (2, "H"), (4, "I"), (8, "I"))  # fmt: skip
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        entry = rng.choice(seed.entries)
        field = rng.randrange(4)
        at, kind = fields[field]
        at += entry
        size = struct.calcsize(kind)
        old = int.from_bytes(data[at : at + size], "little" if seed.order == "<" else "big")
        value = rng.choice(
            (
                rng.choice(_CODES) if field == 0 else rng.randrange(20),
                rng.choice(INTERESTING),
                old + rng.choice((-1, 1)),
                old * rng.choice((2, 256, 1000)),
                rng.randrange(len(data)),
            )
        )
        struct.pack_into(seed.order + kind, data, at, value % (1 << 8 * size))
    return data


def _seeds(folder: Path) -> list[Seed]:
    """Write a small file of each kind, whose pixels are a part of the sample slide."""
    with open_slide(sample_slide()) as slide:
        wide = np.asarray(slide.read(Box.at(1300, 900, 300, 512)))
    pixels = wide[:, :260]
    made = folder / "seeds"
    made.mkdir()
    files = [*_of_scanners(made, pixels, wide), *_of_tifffile(made, pixels)]
    for path in files:  # so that the children inherit all modules; seeds that fail end here
        use_slide(path, mpp=0.5, channel=0 if "channels" in path.name else None)
    return [_seed(path) for path in files]


def _of_scanners(folder: Path, pixels: np.ndarray, wide: np.ndarray) -> Iterator[Path]:
    yield write_svs(folder / "svs.svs", pixels)
    yield write_svs(folder / "jpeg2000.svs", pixels, compression=33005)
    yield write_scn(folder / "scn.scn", pixels)
    yield write_bif(folder / "bif.bif", pixels)
    yield write_ndpi(folder / "ndpi.ndpi", wide)[0]  # of whole restart intervals
    size = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    yield write_ome(folder / "ome.ome.tif", pixels, axes="YXS", **size)
    yield write_ome(folder / "ome-channels.ome.tif", np.moveaxis(pixels, 2, 0), axes="CYX", **size)
    yield _write_qptiff(folder / "qpi.qptiff", pixels)
    yield _write_philips(folder / "philips.tiff", pixels)


def _of_tifffile(folder: Path, pixels: np.ndarray) -> Iterator[Path]:
    rgb = {"photometric": "rgb", "resolution": (20000, 20000), "resolutionunit": 3}
    tiled = {"tile": (128, 128), **rgb}
    layouts = {
        "strips": {"rowsperstrip": 32, **rgb},
        "big-endian": {"byteorder": ">", "bigtiff": True, **tiled},
        "planar": {"planarconfig": "separate", "compression": "zlib", "metadata": None, **tiled},
        "predictor": {"compression": "lzw", "predictor": True, **tiled},
        **{name: {"compression": name, **tiled} for name in ("zstd", "lzma", "webp", "png")},
        "jpegxl": {"compression": "jpegxl", **tiled},
        "jpeg-strips": {"compression": "jpeg", "rowsperstrip": 64, **rgb},
    }
    for name, layout in layouts.items():
        data = np.moveaxis(pixels, 2, 0) if name == "planar" else pixels
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, data, **layout)
        yield path
    grey = pixels[..., 0].astype(np.uint16) << 4
    path = folder / "imagej.tif"
    tifffile.imwrite(path, grey, imagej=True, metadata={"unit": "um"}, resolution=(2, 2))
    yield path


def _write_qptiff(path: Path, pixels: np.ndarray) -> Path:
    """Write levels and a thumbnail as PerkinElmer's scanners do."""
    with tifffile.TiffWriter(path) as tif:
        common = {"software": "PerkinElmer-QPI", "metadata": None, "resolution": (20000, 20000)}
        for level, kind in ((pixels, "FullResolution"), (halved(pixels, 4), "Thumbnail"),
                            (halved(pixels), "ReducedResolution")):  # fmt: skip
            text = f"<PerkinElmer-QPI-ImageDescription><ImageType>{kind}</ImageType>"
            tif.write(
                level,
                description=text + "</PerkinElmer-QPI-ImageDescription>",
                tile=None if kind == "Thumbnail" else (128, 128),
                compression="lzw",
                photometric="rgb",
                resolutionunit=3,
                **common,
            )
    return path


def _write_philips(path: Path, pixels: np.ndarray) -> Path:
    """Write levels that are listed in XML, as Philips' scanners do."""
    spacings = "".join(
        '<DataObject ObjectType="PixelDataRepresentation">'
        f'<Attribute Name="DICOM_PIXEL_SPACING">"{size}" "{size}"</Attribute></DataObject>'
        for size in (0.00025, 0.0005)
    )
    text = f'<DataObject ObjectType="DPUfsImport"><Attribute>{spacings}</Attribute></DataObject>'
    with tifffile.TiffWriter(path) as tif:
        for level in (pixels, halved(pixels)):
            tif.write(
                level,
                description=text,
                software="Philips DP v1.0",
                tile=(128, 128),
                compression="jpeg",
                photometric="rgb",
                metadata=None,
            )
    return path


def _seed(path: Path) -> Seed:
    """Read a file and find its tables' entries, with those of its SubIFDs."""
    with tifffile.TiffFile(path) as tif:
        pages = [page.aspage() for page in tif.pages]
        pages += [part.aspage() for page in pages for part in page.pages or ()]
        entries = tuple(tag.offset for page in pages for tag in page.tags)
        return Seed(
            name=path.name.partition(".")[0],
            ending=path.name[path.name.index(".") :],
            data=path.read_bytes(),
            entries=entries,
            is_big=tif.is_bigtiff,
            order=tif.byteorder,
        )
