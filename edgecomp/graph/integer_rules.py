"""Which float operators have an integer form, judged by attributes, shapes and constants.

The pass that quantizes and the recognition of what it wrote ask the same questions here.
"""

import math
from collections.abc import Callable

import onnx_ir as ir

from edgecomp.graph.constants import constant_array, is_constant
from edgecomp.graph.index_bounds import misplaced_index
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.unary import unary_function, variable_input
from edgecomp.graph.windows import window_of

#: Products with constant weights.
PRODUCTS = ("Conv", "Gemm", "MatMul")
#: Sums and products of two activations.
BINARY = ("Add", "Mul", "Sub")
AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
MAXIMUMS = ("GlobalMaxPool", "MaxPool")
#: Operators whose first input's values only change place.
MOVES = (
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Resize",
    "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
#: Functions of one variable; some are binary operators with a constant of one element.
FUNCTIONS = (
    "Abs", "Atan", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Max", "Min", "Mish", "Neg", "PRelu", "Pow",
    "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign",
    "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
)  # fmt: skip

# The largest number of 8-bit values whose sum is sure to fit in int32.
_MAXIMUM_COUNT = (2**31 - 1) // 255


def integer_refusal(node: ir.Node) -> str:
    """Why the node has no integer form whatever the scales are, "" where it has one."""
    if node.domain != "" or node.op_type not in _RULES:
        return f"{node.op_type} has no integer form"
    return _RULES[node.op_type](node)


def is_function(node: ir.Node) -> bool:
    """Whether the node computes a function of one variable, elementwise, of the same shape."""
    if unary_function(node) is None:
        return False
    before, after = static_shape(variable_input(node)), static_shape(node.outputs[0])
    return before is None or after is None or before == after


def average_axes(node: ir.Node) -> tuple[int, ...] | None:
    """Dimensions that a GlobalAveragePool or ReduceMean averages; None where not known."""
    shape = static_shape(node.inputs[0])
    if shape is None:
        return None
    if node.op_type == "GlobalAveragePool":
        return tuple(range(2, len(shape)))
    axes = list(node.attributes.get_ints("axes") or [])
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        given = constant_array(node.inputs[1])
        if given is None:
            return None
        axes = [int(axis) for axis in given.reshape(-1)]
    if not axes and node.attributes.get_int("noop_with_empty_axes", 0) == 0:
        axes = list(range(len(shape)))
    return tuple(sorted({axis % len(shape) for axis in axes}))


def average_count(node: ir.Node) -> int:
    """Divisor of an average; 0 where it differs from place to place or is not known."""
    shape = static_shape(node.inputs[0])
    if shape is None:
        return 0
    if node.op_type == "AveragePool":
        kernel = tuple(node.attributes.get_ints("kernel_shape"))
        window = window_of(node, shape, kernel)
        all_count = not window.padded or node.attributes.get_int("count_include_pad", 0) != 0
        return math.prod(kernel) if all_count and window.fits else 0
    axes = average_axes(node)
    return math.prod(shape[axis] for axis in axes) if axes else 0


def _convolution(node: ir.Node) -> str:
    return "" if static_shape(node.inputs[0]) else "the shape of its input is not known"


def _gemm(node: ir.Node) -> str:
    if node.attributes.get_int("transA", 0) != 0:
        return "its activation is transposed"
    for name in ("alpha", "beta"):
        if node.attributes.get_float(name, 1.0) != 1.0:
            return f"its {name} is not 1"
    return ""


def _matrix_multiply(node: ir.Node) -> str:
    rows, weight = static_shape(node.inputs[0]), static_shape(node.inputs[1])
    if rows is None or len(rows) < 2:
        return "its input is not known to have two dimensions or more"
    if weight is None or len(weight) < 2:
        return "its second operand is not known to be a matrix"
    return ""


def _average(node: ir.Node) -> str:
    count = average_count(node)
    if count == 0:
        return "its divisor is not the same everywhere"
    return "" if count <= _MAXIMUM_COUNT else "its accumulator could overflow int32"


def _maximum(node: ir.Node) -> str:
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return "its indices are used"
    return "" if static_shape(node.inputs[0]) else "the shape of its input is not known"


def _move(node: ir.Node) -> str:
    if not all(value is None or is_constant(value) for value in node.inputs[1:]):
        return "where its values go is not constant"
    if node.op_type == "Resize":
        return _resize(node)
    if node.op_type == "Pad":
        return "" if _pads_with_zero(node) else "it pads with another number than 0"
    return misplaced_index(node)


def _resize(node: ir.Node) -> str:
    if node.attributes.get_string("mode", "nearest") != "nearest":
        return "it interpolates"
    mode = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return "it extrapolates" if mode == "tf_crop_and_resize" else ""


def _pads_with_zero(node: ir.Node) -> bool:
    if node.attributes.get_string("mode", "constant") != "constant":
        return True
    if node.attributes.get_float("value", 0.0) != 0.0:
        return False
    fill = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    return fill is None or not fill.any()


def _concat(node: ir.Node) -> str:
    return "" if static_shape(node.inputs[0]) else "the shape of its input is not known"


def _function(node: ir.Node) -> str:
    return "" if is_function(node) else "it is no function of one variable"


def _any(node: ir.Node) -> str:
    return "" if len(node.inputs) == 2 else "it does not have two inputs"


_RULES: dict[str, Callable[[ir.Node], str]] = {
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(MOVES, _move),
    **dict.fromkeys(AVERAGES, _average),
    **dict.fromkeys(MAXIMUMS, _maximum),
    **dict.fromkeys(BINARY, _any),
    "Concat": _concat,
    "Conv": _convolution,
    "Gemm": _gemm,
    "MatMul": _matrix_multiply,
}
