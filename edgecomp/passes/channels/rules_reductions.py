"""Channels through pools and reductions over other dimensions than the channels."""

import math

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.match import normalized_axes
from edgecomp.graph.shapes import static_shape
from edgecomp.passes.channels.state import State

REDUCTIONS = frozenset(
    {
        "ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL1", "ReduceL2",
        "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp",
    }
)  # fmt: skip
GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})


def visit_pool(node: ir.Node, state: State) -> bool:
    """Windows within one channel; padding that counts as 0 changes a constant mean."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    if found.axis != 1 or any(value.uses() for value in node.outputs[1:]):
        return False
    constant = found.constant
    plain = node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    padded = not plain or any(node.attributes.get_ints("pads", []))
    counted = node.attributes.get_int("count_include_pad", 0)
    if node.op_type == "AveragePool" and padded and counted:
        constant = np.where(constant == 0, 0.0, np.nan)
    state.set(node.outputs[0], 1, found.ids, constant)
    return True


def visit_global_pool(node: ir.Node, state: State) -> bool:
    """One element per channel."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    if found.axis != 1:
        return False
    state.set(node.outputs[0], 1, found.ids, found.constant)
    return True


def visit_reduction(node: ir.Node, state: State) -> bool:
    """Reduction over constant axes without the channels."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    shape = static_shape(node.inputs[0])
    if shape is None:
        return False
    given = node.inputs[1] if len(node.inputs) > 1 else None
    if given is None:
        return False
    array = constant_array(given)
    if array is None or not array.size:
        return False
    axes = normalized_axes(array, len(shape))
    if found.axis in axes:
        return False
    axis = found.axis
    if not node.attributes.get_int("keepdims", 1):
        axis -= sum(each < axis for each in axes)
    count = math.prod(shape[each] for each in axes)
    state.set(node.outputs[0], axis, found.ids, _reduced(node.op_type, found.constant, count))
    return True


def _reduced(operator: str, constant: AnyArray, count: int) -> AnyArray:
    """The reduction of ``count`` equal numbers."""
    with np.errstate(all="ignore"):
        results = {
            "ReduceSum": constant * count,
            "ReduceL1": np.abs(constant) * count,
            "ReduceL2": np.abs(constant) * math.sqrt(count),
            "ReduceSumSquare": constant * constant * count,
            "ReduceProd": constant**count,
            "ReduceLogSumExp": constant + math.log(count),
        }
    return results.get(operator, constant)


def visit_softmax(node: ir.Node, state: State) -> bool:
    """Softmax along another dimension works channel by channel."""
    found = state.of(node.inputs[0])
    if found is None:
        return True
    shape = static_shape(node.inputs[0])
    assert shape is not None
    if node.attributes.get_int("axis", -1) % len(shape) == found.axis:
        return False
    state.set(node.outputs[0], found.axis, found.ids, np.full(len(found.ids), np.nan))
    return True
