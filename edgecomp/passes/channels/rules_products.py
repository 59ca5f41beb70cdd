"""Channels through convolutions and matrix products: where they begin and where they end."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.match import is_operator
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.add_bias import add_bias, bias_of_matmul
from edgecomp.passes.channels.state import Channels, Kept, State


def visit_convolution(node: ir.Node, state: State) -> bool:
    """Conv: dense ones end their input's channels, grouped ones pass them through."""
    weight = constant_array(node.inputs[1])
    if weight is None or not _bias_is_constant(node):
        return False
    groups = node.attributes.get_int("group", 1)
    if groups > 1:
        return _visit_grouped(node, state, weight, groups)
    taps = weight.reshape(*weight.shape[:2], -1)
    used = _used(taps)
    constant = None
    if _input_channels(node, state, 1) is not None:
        ignored, foldable = _zero(used, axis=0), _has_no_padding(node)
        constant = state.consume(node.inputs[0], node, ignored, foldable=foldable)
    known = _known_outputs(node, state, taps, used, padded=not _has_no_padding(node))
    state.seed(node, 1, known, _zero(used, axis=1))

    def apply(kept: Kept) -> None:
        inputs, outputs = kept.of(node.inputs[0]), kept.of(node.outputs[0])
        matrix, bias = weight, _bias(node)
        if inputs is not None:
            assert constant is not None
            gone = np.where(inputs, 0.0, constant)
            bias = _plus(bias, taps.astype(np.float64).sum(axis=2) @ gone)
            matrix = matrix[:, inputs]
        if outputs is not None:
            matrix = matrix[outputs]
            bias = None if bias is None else bias[outputs]
        _set_weights(node, matrix, bias)

    state.applies.append(apply)
    return True


def _visit_grouped(node: ir.Node, state: State, weight: AnyArray, groups: int) -> bool:
    """Grouped and depthwise: a group goes as a whole, with its inputs and outputs."""
    per_in, per_out = weight.shape[1], weight.shape[0] // groups
    shape = static_shape(node.outputs[0])
    if shape is None:
        return False
    source = _input_channels(node, state, 1)
    if source is None:
        source_ids = state.new_ids(groups * per_in)
        state.pin(source_ids, node, "the channels of the input are not known")
        source_constant = np.full(groups * per_in, np.nan)
    else:
        source_ids, source_constant = source.ids, source.constant
    taps = weight.reshape(groups, per_out, per_in, -1)
    used = _used(taps)
    bias = _bias(node)
    known = _sum_of_constants(
        taps,
        used,
        source_constant.reshape(groups, 1, per_in),
        padded=not _has_no_padding(node),
    ).reshape(-1)
    if bias is not None:
        known = known + bias
    ids = state.seed(node, 1, known, _zero(used, axis=2).reshape(-1))
    sources = source_ids.reshape(groups, per_in)
    members = np.concatenate([sources, ids.reshape(groups, per_out)], axis=1)
    first = np.broadcast_to(sources[:, :1], members.shape)
    state.join(first.reshape(-1), members.reshape(-1))

    def apply(kept: Kept) -> None:
        outputs = kept.of(node.outputs[0])
        if outputs is None:
            return
        remaining = int(outputs.reshape(groups, per_out)[:, 0].sum())
        node.attributes["group"] = ir.AttrInt64("group", remaining)
        _set_weights(node, weight[outputs], None if bias is None else bias[outputs])

    state.applies.append(apply)
    return True


def visit_transposed_convolution(node: ir.Node, state: State) -> bool:
    """ConvTranspose without groups; its border sees fewer taps, so only zeros can go."""
    weight = constant_array(node.inputs[1])
    if (
        weight is None
        or not _bias_is_constant(node)
        or node.attributes.get_int("group", 1) != 1
    ):
        return False
    taps = np.swapaxes(weight, 0, 1).reshape(weight.shape[1], weight.shape[0], -1)
    used = _used(taps)
    if _input_channels(node, state, 1) is not None:
        state.consume(node.inputs[0], node, _zero(used, axis=0), foldable=False)
    known = _known_outputs(node, state, taps, used, padded=True)
    state.seed(node, 1, known, _zero(used, axis=1))

    def apply(kept: Kept) -> None:
        inputs, outputs = kept.of(node.inputs[0]), kept.of(node.outputs[0])
        matrix, bias = weight, _bias(node)
        if inputs is not None:
            matrix = matrix[inputs]
        if outputs is not None:
            matrix = matrix[:, outputs]
            bias = None if bias is None else bias[outputs]
        _set_weights(node, matrix, bias)

    state.applies.append(apply)
    return True


def visit_matrix_product(node: ir.Node, state: State) -> bool:
    """Gemm and MatMul with a constant matrix on the right; channels are the last dimension."""
    weight = constant_array(node.inputs[1])
    shape = static_shape(node.outputs[0])
    if weight is None or weight.ndim != 2 or shape is None or not _bias_is_constant(node):
        return False
    if is_operator(node, "Gemm") and not _is_plain_gemm(node, weight):
        return False
    last = len(shape) - 1
    found = _input_channels(node, state, len(static_shape(node.inputs[0]) or ()) - 1)
    constant = None
    taps = weight.T[:, :, None]
    used = _used(taps)
    if found is not None:
        constant = state.consume(node.inputs[0], node, _zero(used, axis=0), foldable=True)
    values = found.constant if found is not None else np.full(len(weight), np.nan)
    known = _sum_of_constants(taps, used, values, padded=False)
    own = _bias(node)
    if own is not None:
        known = known + own
    state.seed(node, last, known, _zero(used, axis=1))

    def apply(kept: Kept) -> None:
        inputs, outputs = kept.of(node.inputs[0]), kept.of(node.outputs[0])
        matrix, passed = weight, None
        if inputs is not None:
            assert constant is not None
            passed = weight.T.astype(np.float64) @ np.where(inputs, 0.0, constant)
            matrix = matrix[inputs]
        bias = own
        if is_operator(node, "Gemm") and passed is not None:
            bias = _plus(bias, passed)
        if outputs is not None:
            matrix = matrix[:, outputs]
            bias = None if bias is None else bias[outputs]
            passed = None if passed is None else passed[outputs]
        if is_operator(node, "Gemm"):
            _set_weights(node, matrix, bias)
            return
        set_constant_input(node, 1, matrix)
        if passed is not None and passed.any():
            _add_behind_matmul(node, passed, kept)

    state.applies.append(apply)
    return True


def _add_behind_matmul(node: ir.Node, passed: AnyArray, kept: Kept) -> None:
    """The bias row behind a MatMul may not have its final length yet: widen the addition."""
    behind = bias_of_matmul(node)
    outputs = kept.of(node.outputs[0])
    if behind is not None and outputs is not None and len(behind[1]) == len(outputs):
        total, row = behind
        wide = row.astype(np.float64)
        wide[outputs] += passed
        set_constant_input(total, 1, wide.astype(row.dtype))
        return
    add_bias(node, passed)


def _known_outputs(
    node: ir.Node, state: State, taps: AnyArray, used: AnyArray, *, padded: bool
) -> AnyArray:
    """Constant of each output channel, bias included."""
    found = _input_channels(node, state, 1)
    values = found.constant if found is not None else np.full(taps.shape[1], np.nan)
    known = _sum_of_constants(taps, used, values, padded=padded)
    bias = _bias(node)
    return known if bias is None else known + bias


def _used(taps: AnyArray) -> AnyArray:
    """Bool [..., M, C]: where one of taps [..., M, C, K] is another number than 0."""
    return np.asarray(taps[..., 0] != 0 if taps.shape[-1] == 1 else taps.any(axis=-1))


def _zero(used: AnyArray, axis: int) -> AnyArray:
    """Bool: where nothing is used along an axis."""
    return np.logical_not(used.any(axis=axis))


def _sum_of_constants(
    taps: AnyArray, used: AnyArray, values: AnyArray, *, padded: bool
) -> AnyArray:
    """Sum over inputs of taps [..., M, C, K] times constants; nan where it is not one number.

    Args:
        taps: the weights.
        used: bool [..., M, C], see ``_used``.
        values: float64 [C], or [..., 1, C].
        padded: whether the border reads zeros instead of the constants.
    """
    usable = np.where(np.isnan(values) | (padded & (values != 0)), np.nan, values)
    blocked = np.asarray((used & np.isnan(usable)).any(axis=-1))
    total = np.zeros(blocked.shape)
    # Nearly always all channels are computed: the weights are summed where that is not so.
    passed = np.where(np.isnan(usable), 0.0, usable)
    if not blocked.all() and passed.any():
        sums = taps.astype(np.float64).sum(axis=-1) * passed
        total = np.where(used, sums, 0.0).sum(axis=-1)
    return np.where(blocked, np.nan, total)


def _input_channels(node: ir.Node, state: State, axis: int) -> Channels | None:
    """Channels of a product's input; held where the product runs along another dimension."""
    found = state.of(node.inputs[0])
    if found is None or found.axis == axis:
        return found
    state.pin(found.ids, node, "the product runs along another dimension than the channels")
    return None


def _is_plain_gemm(node: ir.Node, weight: AnyArray) -> bool:
    attributes = node.attributes
    bias = _bias(node)
    return (
        attributes.get_float("alpha", 1.0) == 1.0
        and attributes.get_float("beta", 1.0) == 1.0
        and not attributes.get_int("transA", 0)
        and not attributes.get_int("transB", 0)
        and (bias is None or bias.shape == (weight.shape[1],))
    )


def _has_no_padding(node: ir.Node) -> bool:
    plain = node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return plain and not any(node.attributes.get_ints("pads", []))


def _bias_is_constant(node: ir.Node) -> bool:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    return value is None or constant_array(value) is not None


def _bias(node: ir.Node) -> AnyArray | None:
    if len(node.inputs) < 3:
        return None
    array = constant_array(node.inputs[2])
    return None if array is None else array.astype(np.float64)


def _plus(bias: AnyArray | None, more: AnyArray) -> AnyArray | None:
    if bias is None:
        return more if more.any() else None
    return bias + more


def _set_weights(node: ir.Node, matrix: AnyArray, bias: AnyArray | None) -> None:
    set_constant_input(node, 1, matrix)
    if bias is not None:
        name = f"{node.inputs[1].name}_bias" if node.inputs[1] is not None else ""
        set_constant_input(node, 2, bias.astype(matrix.dtype), name=name)
