"""ONNX networks, checked before a library parses them.

A file from elsewhere may name other files as its weights, call operations of a library that comes
with it, loop, or state sizes that its numbers do not have. Here all that is refused, and no code of
the file is run: an ONNX file has none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_twostage.errors import ModelError
from napari_twostage.models.onnx_models.tensors import TYPES, check_tensor
from napari_twostage.models.onnx_models.wire import BYTES, Wire

if TYPE_CHECKING:
    from napari_twostage.models.onnx_models.wire import Entry

MOST_NODES = 20_000
INPUT_TYPES = ("float32", "float16", "uint8")
"""Types of pixels that a network may take."""
OPERATIONS = frozenset(
    (
        *("Abs", "Add", "And", "ArgMax", "Attention", "AveragePool", "BatchNormalization", "Cast"),
        *("CastLike", "Ceil", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "Cos"),
        *("ConvTranspose", "CumSum", "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Elu"),
        *("Einsum", "Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherND"),
        *("GatherElements", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater"),
        *("GreaterOrEqual", "GridSample", "GroupNormalization", "HardSigmoid", "HardSwish"),
        *("Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less", "Log"),
        *("LessOrEqual", "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish", "Mod"),
        *("Mul", "Neg", "Not", "Or", "PRelu", "Pad", "Pow", "QuantizeLinear", "RMSNormalization"),
        *("Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin"),
        *("ReduceProd", "ReduceSum", "Relu", "Reshape", "Resize", "Round", "ScatterElements"),
        *("ScatterND", "Selu", "Shape", "Sigmoid", "Sign", "Sin", "Slice", "Softmax", "Softplus"),
        *("Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Swish", "Tanh"),
        *("ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Upsample"),
        *("Where", "Xor"),
    )
)
"""Operations of networks that segment; none loops, draws random numbers or keeps a state."""
STANDARD = ("", "ai.onnx")
"""Names of the standard's own domain of operations."""
PASSING = frozenset(
    ("Cast", "Identity", "Resize", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Upsample")
)
"""Operations that leave probabilities what they are."""

# numbers of fields, from onnx.proto
MODEL_GRAPH, MODEL_TRAINING, MODEL_FUNCTIONS = 7, 20, 25
GRAPH_NODE, GRAPH_WEIGHT, GRAPH_INPUT, GRAPH_OUTPUT, GRAPH_SPARSE = 1, 5, 11, 12, 15
NODE_INPUT, NODE_OUTPUT, NODE_OPERATION, NODE_ATTRIBUTE, NODE_DOMAIN = 1, 2, 4, 5, 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11, 22, 23)
PORT_NAME, PORT_TYPE = 1, 2


@dataclass(frozen=True)
class Port:
    """Input or output of a network."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    """Sides; None for one of any size."""


@dataclass
class OnnxNetwork:
    """Facts about an ONNX network that a run depends on."""

    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    makers: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Operation that makes a value, and that operation's first input, by the value's name."""

    def last_operation(self, output: str) -> str:
        """Operation that gives an output its meaning, such as Sigmoid; Resize, say, is none."""
        operation, taken = self.makers.get(output, ("", ""))
        for _ in range(MOST_NODES):  # a file may hold a circle
            if operation not in PASSING:
                break
            operation, taken = self.makers.get(taken, ("", ""))
        return operation


def read_network(content: bytes, source: str) -> OnnxNetwork:
    """Read and check an ONNX file.

    Parameters
    ----------
    content : bytes
    source : str
        Name of the file, for messages.

    Raises
    ------
    ModelError
        If it is none, is damaged, or holds what no network needs to segment.
    """
    try:
        return _network(Wire(content))
    except ModelError as error:
        raise ModelError(f"{source} is no usable ONNX network: {error}") from error


def _network(wire: Wire) -> OnnxNetwork:
    network, weights = OnnxNetwork(), set()
    for entry in wire.inside(_graph(wire)):
        if entry.field == GRAPH_NODE:
            _add_node(wire, entry, network)
        elif entry.field == GRAPH_WEIGHT:
            weights.add(check_tensor(wire, entry))
        elif entry.field == GRAPH_INPUT:
            network.inputs.append(_port(wire, entry))
        elif entry.field == GRAPH_OUTPUT:
            network.outputs.append(_port(wire, entry))
        elif entry.field == GRAPH_SPARSE:
            raise ModelError("it holds sparse weights; export it with dense ones")
    # files of older versions list weights among the inputs
    network.inputs = [port for port in network.inputs if port.name not in weights]
    _require_image_to_maps(network)
    return network


def _graph(wire: Wire) -> Entry:
    graphs = []
    for entry in wire.entries():
        if entry.field in (MODEL_FUNCTIONS, MODEL_TRAINING):
            raise ModelError(
                "it holds functions or training of its own; export it for inference, with all "
                "functions inlined"
            )
        if entry.field == MODEL_GRAPH:
            graphs.append(entry)
    if len(graphs) != 1:
        raise ModelError("it holds no graph; get the file again")
    return graphs[0]


def _require_image_to_maps(network: OnnxNetwork) -> None:
    if len(network.inputs) != 1 or not network.outputs:
        raise ModelError(
            f"it takes {len(network.inputs)} inputs and gives {len(network.outputs)} outputs, "
            "expected one image and at least one map; export it for one image"
        )
    image = network.inputs[0]
    if image.dtype not in INPUT_TYPES or len(image.shape) != 4:
        raise ModelError(
            f"its input is {image.dtype} of {len(image.shape)} axes, expected images of "
            f"{', '.join(INPUT_TYPES)} of 4 axes; export it for batches of 2-D images"
        )


def _add_node(wire: Wire, node: Entry, network: OnnxNetwork) -> None:
    operation, domain, taken, given = "", "", "", []
    for entry in wire.inside(node):
        if entry.field == NODE_OPERATION:
            operation = wire.text(entry)
        elif entry.field == NODE_DOMAIN:
            domain = wire.text(entry)
        elif entry.field == NODE_INPUT:
            taken = taken or wire.text(entry)
        elif entry.field == NODE_OUTPUT:
            given.append(wire.text(entry))
        elif entry.field == NODE_ATTRIBUTE:
            _check_attribute(wire, entry)
    if domain not in STANDARD:
        raise ModelError(
            f"it needs operations of {domain!r:.60}, which are not in the ONNX standard; export "
            "it with standard operations only"
        )
    if operation not in OPERATIONS:
        raise ModelError(
            f"it holds the operation {operation!r:.60}, which no network here may; export it "
            "without"
        )
    network.makers |= dict.fromkeys(given, (operation, taken))
    if len(network.makers) > MOST_NODES:
        raise ModelError(f"it has more than {MOST_NODES} operations")


def _check_attribute(wire: Wire, attribute: Entry) -> None:
    for entry in wire.inside(attribute):
        if entry.field in ATTRIBUTE_GRAPHS:
            raise ModelError("it loops or branches; export it for windows of a fixed size")
        if entry.field in ATTRIBUTE_TENSORS and entry.kind == BYTES:
            check_tensor(wire, entry)


def _port(wire: Wire, port: Entry) -> Port:
    name, dtype = "", ""
    shape: list[int | None] = []
    for entry in wire.inside(port):
        if entry.field == PORT_NAME:
            name = wire.text(entry)
        elif entry.field == PORT_TYPE:
            # a type holds a tensor's type, which holds its values' type (1) and its shape (2)
            for tensor in wire.inside(entry):
                if tensor.field != 1:
                    raise ModelError(f"its input or output {name!r:.60} is no tensor")
                for part in wire.inside(tensor):
                    if part.field == 1:
                        dtype = TYPES[part.number].name if part.number in TYPES else "unknown"
                    elif part.field == 2:
                        shape = [_side(wire, side) for side in wire.inside(part)]
    return Port(name, dtype, tuple(shape))


def _side(wire: Wire, side: Entry) -> int | None:
    numbers = [entry.number for entry in wire.inside(side) if entry.field == 1]
    return numbers[0] if numbers and 0 < numbers[0] < 1 << 31 else None
