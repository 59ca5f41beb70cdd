"""Channels through elementwise operators and normalisations: position by position."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.evaluate import evaluate_node
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.channels.state import Channels, Kept, State

UNARY = frozenset(
    {
        "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cast", "Ceil", "Celu", "Clip",
        "Cos", "Cosh", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
        "HardSwish", "Identity", "LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round",
        "Selu", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan",
        "Tanh", "ThresholdedRelu",
    }
)  # fmt: skip
BINARY = frozenset({"Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu"})


def visit_unary(node: ir.Node, state: State) -> bool:
    """Let a constant channel become f of the constant."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    if any(constant_array(value) is None for value in node.inputs[1:] if value is not None):
        return False
    if any(value.uses() for value in node.outputs[1:]):
        return False
    state.set(node.outputs[0], found.axis, found.ids, _evaluate(node, found.constant))
    return True


def visit_binary(node: ir.Node, state: State) -> bool:
    """Broadcast f(a, b): channels at the same position belong together."""
    if len(node.inputs) != 2:
        return len(node.inputs) == 1 and visit_unary(node, state)
    shape = static_shape(node.outputs[0])
    operands = [_operand(value, state, shape) for value in node.inputs]
    known = [each for each in operands if each is not None]
    if shape is None or not known:
        return True
    axis = known[0].axis
    extent = shape[axis]
    if any(each.axis != axis for each in known):
        return False
    wide = [each for each in known if len(each.ids) == extent]
    if not wide:
        return False
    ids = wide[0].ids
    for each in wide[1:]:
        state.join(ids, each.ids)
    for each in known:
        if len(each.ids) != extent:
            state.pin(each.ids, node, "one channel is spread over several")
    for value, operand in zip(node.inputs, operands, strict=True):
        if (
            operand is None
            and constant_array(value) is None
            and not _is_single(value, shape, axis)
        ):
            state.pin(ids, node, "it meets a value whose channels are not known")
    constants = [
        _constant_of(value, operand, shape, axis)
        for value, operand in zip(node.inputs, operands, strict=True)
    ]
    state.set(node.outputs[0], axis, ids, _combine(node, constants))
    _slice_constants(node, state, ids, shape, axis)
    return True


def _operand(
    value: ir.Value | None, state: State, shape: tuple[int, ...] | None
) -> Channels | None:
    """Channels of an operand, the axis counted in the output's dimensions."""
    found = state.of(value)
    own = static_shape(value)
    if found is None or shape is None or own is None:
        return None
    return Channels(found.axis + len(shape) - len(own), found.ids, found.constant)


def _is_single(value: ir.Value | None, shape: tuple[int, ...], axis: int) -> bool:
    """Whether a value has one element along the channel axis, or no such dimension."""
    own = static_shape(value)
    if own is None:
        return False
    at = axis - (len(shape) - len(own))
    return at < 0 or own[at] == 1


def _constant_of(
    value: ir.Value | None, operand: Channels | None, shape: tuple[int, ...], axis: int
) -> AnyArray:
    """float64 [extent]: the operand's constant per channel, nan where it has none."""
    extent = shape[axis]
    if operand is not None:
        return np.broadcast_to(operand.constant, (extent,))
    array = constant_array(value)
    if array is None:
        return np.full(extent, np.nan)
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape).astype(np.float64)
    rows = np.moveaxis(full, axis, 0).reshape(full.shape[axis], -1)
    same = (rows == rows[:, :1]).all(axis=1)
    return np.broadcast_to(np.where(same, rows[:, 0], np.nan), (extent,))


def _combine(node: ir.Node, constants: list[AnyArray]) -> AnyArray:
    first, second = constants
    known = ~np.isnan(first) & ~np.isnan(second)
    result = np.full(len(first), np.nan)
    if known.any():
        result[known] = _run_on_vectors(node, [first[known], second[known]])
    if node.op_type == "Mul":
        # 0 times anything finite; weights that were pruned rely on the same.
        result[(first == 0) | (second == 0)] = 0.0
    elif node.op_type == "Div":
        # 0 by a computed value: taken as 0 only where the divisor is known, 0 / 0 is not.
        result[known & (second == 0)] = np.nan
    return result


def _slice_constants(
    node: ir.Node, state: State, ids: AnyArray, shape: tuple[int, ...], axis: int
) -> None:
    def apply(kept: Kept) -> None:
        mask = kept.mask(ids)
        if mask.all():
            return
        for index, value in enumerate(node.inputs):
            array = constant_array(value)
            if array is None:
                continue
            at = axis - (len(shape) - array.ndim)
            if at >= 0 and array.shape[at] == len(mask) and len(mask) > 1:
                set_constant_input(node, index, np.compress(mask, array, axis=at))

    state.applies.append(apply)


def visit_batch_normalization(node: ir.Node, state: State) -> bool:
    """Inference batch norm: x * s + t per channel; a scale of 0 makes it constant."""
    arrays = [constant_array(value) for value in node.inputs[1:5]]
    if node.attributes.get_int("training_mode", 0) or any(each is None for each in arrays):
        return False
    gamma, beta, mean, variance = (np.asarray(each, np.float64) for each in arrays)
    scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    return _visit_normalization(node, state, scale, beta - mean * scale)


def visit_instance_normalization(node: ir.Node, state: State) -> bool:
    """A channel of zeros has no spread: it becomes its bias.

    True of any constant, but its mean is rounded and then divided by sqrt(epsilon): what comes
    out at run time is noise around the bias.
    """
    arrays = [constant_array(value) for value in node.inputs[1:3]]
    found = state.of(node.inputs[0])
    if any(each is None for each in arrays):
        return False
    if found is None:
        return True
    if found.axis != 1:
        return False
    gamma, beta = (np.asarray(each, np.float64) for each in arrays)
    known = np.where((found.constant == 0) | (gamma == 0), beta, np.nan)
    state.set(node.outputs[0], 1, found.ids, known)
    _slice_vectors(node, state, found.ids)
    return True


def _visit_normalization(
    node: ir.Node, state: State, scale: AnyArray, shift: AnyArray
) -> bool:
    found = state.of(node.inputs[0])
    if found is None:
        return True
    if found.axis != 1:
        return False
    known = np.where(scale == 0, shift, found.constant * scale + shift)
    state.set(node.outputs[0], 1, found.ids, known)
    _slice_vectors(node, state, found.ids)
    return True


def _slice_vectors(node: ir.Node, state: State, ids: AnyArray) -> None:
    def apply(kept: Kept) -> None:
        mask = kept.mask(ids)
        if mask.all():
            return
        for index in range(1, len(node.inputs)):
            array = constant_array(node.inputs[index])
            assert array is not None
            set_constant_input(node, index, array[mask])

    state.applies.append(apply)


def _evaluate(node: ir.Node, constant: AnyArray) -> AnyArray:
    if node.op_type in ("Identity", "Dropout"):
        return constant
    known = ~np.isnan(constant)
    result = np.full(len(constant), np.nan)
    if known.any():
        result[known] = _run_on_vectors(node, [constant[known]])
    return result


def _run_on_vectors(node: ir.Node, vectors: list[AnyArray]) -> AnyArray:
    """An elementwise node on vectors in place of its first inputs; float64, nan if unknown."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    arrays: list[AnyArray | None] = []
    for index, value in enumerate(node.inputs):
        if value is None or index >= len(vectors):
            arrays.append(constant_array(value))
            continue
        assert value.dtype is not None
        arrays.append(vectors[index].astype(value.dtype.numpy()))
    outputs = evaluate_node(node, arrays, graph.opset_imports)
    if outputs is None:
        return np.full(len(vectors[0]), np.nan)
    return np.asarray(outputs[0], np.float64)
