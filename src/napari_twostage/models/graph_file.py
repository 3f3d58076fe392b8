"""Graphs in OpenVINO's format, checked before OpenVINO parses them.

Its parser trusts a graph: an offset beyond the constants is read all the same, and an operation
that loops or makes large arrays does so. So constants must lie where they are, be finite, and
operations be among those that networks of ours consist of.
"""

from __future__ import annotations

import re

from napari_twostage.errors import ModelError
from napari_twostage.models.weights_file import are_finite

LONGEST_GRAPH = 1 << 24
"""Bytes of a graph's XML; the bundled model's have 0.8 million."""
LAYER = re.compile(rb'<layer (?:\w+="[^"]*" )*?type="(\w+)"')
CONSTANT = re.compile(
    rb'<data element_type="(\w+)" shape="[\d, ]*" offset="(\d{1,12})" size="(\d{1,12})"'
)
FLOATS = {b"f16": "F16", b"bf16": "BF16", b"f32": "F32", b"f64": "F64"}
OPERATIONS = frozenset(
    b"Add AdaptiveAvgPool AvgPool BatchNormInference Broadcast Clamp Concat Const Convert "
    b"ConvertLike Convolution ConvolutionBackpropData Divide FakeQuantize Floor Gather "
    b"GroupConvolution GroupConvolutionBackpropData Interpolate MatMul MaxPool Maximum Minimum "
    b"Mod Multiply Pad Parameter Power ReLU Range ReduceMean ReduceSum Reshape Result "
    b"ScatterUpdate ShapeOf Sigmoid Slice Split Sqrt Squeeze StridedSlice Subtract Tile Transpose "
    b"Unsqueeze VariadicSplit".split()
)
"""Operations that any of our architectures is converted to; none loops or keeps a state."""


def check_graph(graph: bytes, constants: bytes, *, known: int = 0) -> None:
    """Refuse a graph that is not such as conversion makes.

    Parameters
    ----------
    graph : bytes
        XML.
    constants : bytes
        Bytes that its offsets count in.
    known : int
        Bytes of the constants, from the first, whose numbers are known to be finite.

    Raises
    ------
    ModelError
        In words that follow "are damaged: ".
    """
    if len(graph) > LONGEST_GRAPH or b"<!" in graph:
        raise ModelError("a graph is too long, or holds more than layers")
    operations = LAYER.findall(graph)
    if unknown := set(operations) - OPERATIONS:
        raise ModelError(f"a graph holds the operation {min(unknown)!r:.60}, as no model does")
    found = CONSTANT.findall(graph)
    # what is written otherwise than conversion writes it is not looked at, so it must not be there
    written = len(re.findall(rb"<layer\b", graph)), len(re.findall(rb"\boffset\s*=", graph))
    if (len(operations), len(found)) != written:
        raise ModelError("a graph is not written as conversion writes it")
    for name, offset, size in found:
        first, last = int(offset), int(offset) + int(size)
        if last > len(constants):
            raise ModelError("a constant of a graph lies outside of the file")
        kind = FLOATS.get(name, "") if first >= known else ""
        if kind and not are_finite(constants, first, last, kind):
            raise ModelError("a constant of a graph is not finite")
