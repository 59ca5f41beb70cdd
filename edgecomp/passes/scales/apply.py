"""Rewrite the constants at both ends of regions, each once.

Scales are powers of two: they change exponents only, so that the float model computes the same
bits as before (where numbers do not leave the normal range of float32).
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.passes.scales.region import Ids, Region
from edgecomp.passes.scales.rules import NORMALISATIONS

Exponents = npt.NDArray[np.int64]
#: Scales within 2 ** 40 either way: no weight of a real model becomes subnormal.
LARGEST_EXPONENT = 40


def apply_exponents(moves: Iterable[tuple[Region, Exponents]]) -> None:
    """Divide the values of regions by ``2 ** exponent`` per channel.

    Args:
        moves: region and int64 [region.size], 0 for channels that are not free.
    """
    outputs: dict[ir.Node, Ids] = {}
    inputs: dict[ir.Node, Ids] = {}
    constants: dict[tuple[ir.Node, int], AnyArray] = {}
    for region, exponents in moves:
        if not exponents.any():
            continue
        by_id = np.append(exponents, 0)
        # Regions that a Concat joins have readers together.
        for place in region.sources:
            outputs[place.node] = outputs.get(place.node, 0) + by_id[place.ids]
        for place in region.readers:
            inputs[place.node] = inputs.get(place.node, 0) + by_id[place.ids]
        for place in region.constants:
            key = (place.node, place.index)
            constants[key] = constants.get(key, 0) + by_id[place.ids]
    for node in dict.fromkeys([*outputs, *inputs]):
        _rescale(node, outputs.get(node), inputs.get(node))
    for (node, index), shifts in constants.items():
        array = constant_array(node.inputs[index])
        assert array is not None
        shifted = np.ldexp(array, -shifts.reshape(_trailing(shifts, array)))
        set_constant_input(node, index, shifted.reshape(array.shape).astype(array.dtype))


def _trailing(shifts: AnyArray, array: AnyArray) -> tuple[int, ...]:
    """The form of the shifts without leading dimensions that the constant lacks."""
    return shifts.shape[shifts.ndim - array.ndim :]


def _rescale(node: ir.Node, outputs: Ids | None, inputs: Ids | None) -> None:
    """Multiply weights by ``2 ** inputs`` and divide weights and bias by ``2 ** outputs``."""
    if node.op_type == "Mul":
        index = 1 if constant_array(node.inputs[1]) is not None else 0
        _shift_row(node, index, outputs)
        return
    if node.op_type in NORMALISATIONS:
        for index in range(1, len(node.inputs)):
            _shift_row(node, index, outputs)
        return
    weight = constant_array(node.inputs[1])
    assert weight is not None
    matrix = as_matrix(node, weight)
    shift = np.zeros(matrix.shape[:2], np.int64)
    if inputs is not None:
        shift += spread_inputs(node, inputs, matrix.shape)
    if outputs is not None:
        shift -= outputs[:, None]
    moved = np.ldexp(matrix, shift[..., None]).astype(weight.dtype)
    moved = moved.reshape(weight.shape) if node.op_type == "Conv" else moved[..., 0].T
    set_constant_input(node, 1, np.ascontiguousarray(moved))
    if outputs is not None and len(node.inputs) > 2 and node.inputs[2] is not None:
        _shift_row(node, 2, outputs)


def _shift_row(node: ir.Node, index: int, outputs: Ids | None) -> None:
    array = constant_array(node.inputs[index])
    assert array is not None
    assert outputs is not None
    shifted = np.ldexp(array.reshape(-1), -outputs)
    set_constant_input(node, index, shifted.reshape(array.shape).astype(array.dtype))


def as_matrix(node: ir.Node, weight: AnyArray) -> AnyArray:
    """Weights of a product as [outputs, inputs of one group, taps]."""
    if node.op_type == "Conv":
        return weight.reshape(weight.shape[0], weight.shape[1], -1)
    return weight.T[:, :, None]


def spread_inputs(node: ir.Node, inputs: Ids, shape: tuple[int, ...]) -> Ids:
    """What belongs to each weight of [outputs, inputs of one group] reads, from a row of all inputs."""
    groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
    rows = inputs.reshape(groups, shape[1])
    return np.repeat(rows, shape[0] // groups, axis=0)
