"""Compute integer operators on stored numbers, exactly as docs/numerics.md says."""

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgecomp.graph.integer import (
    AnyArray,
    Requantization,
    check_accumulator,
    look_up,
    requantize,
)
from edgecomp.graph.integer_operators import (
    IntegerAverage,
    IntegerMultiply,
    IntegerOperator,
    IntegerProduct,
    IntegerSum,
    QuantizedTensor,
    StoredConcat,
    StoredMaximum,
    StoredMove,
    StoredTable,
    ValueProduct,
)
from edgecomp.reference.moves import move
from edgecomp.reference.windows import convolve, window_maximum, window_sum

#: Stored arrays by value name.
Stored = Mapping[str, AnyArray]


def compute(operator: IntegerOperator, stored: Stored, opset: int) -> list[AnyArray]:
    """Results of one operator, one array per entry of ``operator.results``.

    Args:
        operator: what to compute.
        stored: contents of its variable inputs by value name.
        opset: of the standard domain, which decides how attributes of moves are read.
    """
    inputs = [_contents(tensor, stored) for tensor in operator.inputs]
    if isinstance(operator, StoredMove):
        return _move(operator, inputs[0], opset)
    return [_compute(operator, inputs)]


@functools.singledispatch
def _compute(operator: IntegerOperator, inputs: list[AnyArray]) -> AnyArray:
    raise NotImplementedError(type(operator).__name__)


@_compute.register
def _product(operator: IntegerProduct, inputs: list[AnyArray]) -> AnyArray:
    centred = _centred(operator.inputs[0], inputs[0])
    if operator.window is None:
        total = centred.astype(np.float64) @ operator.weight.astype(np.float64)
    else:
        total = convolve(centred, operator.weight, operator.window, operator.groups)
        total = np.moveaxis(total, 1, -1)
    total += operator.bias
    if operator.requantization is None:
        if not operator.is_wide:
            check_accumulator(total)
        result: AnyArray = total.astype(np.float32) * operator.multiplier
    else:
        result = requantize(total, operator.requantization, is_wide=operator.is_wide)
    return result if operator.window is None else np.moveaxis(result, -1, 1)


@_compute.register
def _value_product(operator: ValueProduct, inputs: list[AnyArray]) -> AnyArray:
    a, b = (_centred(t, x) for t, x in zip(operator.inputs, inputs, strict=True))
    total = a.astype(np.float64) @ b.astype(np.float64)
    result: AnyArray = total.astype(np.float32) * operator.multiplier
    return result


@_compute.register
def _sum(operator: IntegerSum, inputs: list[AnyArray]) -> AnyArray:
    a, b = (_centred(t, x) for t, x in zip(operator.inputs, inputs, strict=True))
    total = a * operator.weights.weight_a + b * operator.weights.weight_b
    return _per_tensor(total, operator.requantization)


@_compute.register
def _multiply(operator: IntegerMultiply, inputs: list[AnyArray]) -> AnyArray:
    a, b = (_centred(t, x) for t, x in zip(operator.inputs, inputs, strict=True))
    return _per_tensor(a * b, operator.requantization)


@_compute.register
def _average(operator: IntegerAverage, inputs: list[AnyArray]) -> AnyArray:
    centred = _centred(operator.inputs[0], inputs[0])
    if operator.window is not None:
        total = window_sum(centred, operator.window)
    else:
        total = centred.sum(axis=operator.axes, keepdims=operator.keep_dimensions)
    return _per_tensor(np.asarray(total), operator.requantization)


@_compute.register
def _maximum(operator: StoredMaximum, inputs: list[AnyArray]) -> AnyArray:
    return window_maximum(inputs[0], operator.window)


@_compute.register
def _table(operator: StoredTable, inputs: list[AnyArray]) -> AnyArray:
    return look_up(operator.table, inputs[0])


@_compute.register
def _concat(operator: StoredConcat, inputs: list[AnyArray]) -> AnyArray:
    parts = [
        x if table is None else look_up(table, x)
        for x, table in zip(inputs, operator.tables, strict=True)
    ]
    return np.concatenate(parts, axis=operator.axis)


def _move(operator: StoredMove, x: AnyArray, opset: int) -> list[AnyArray]:
    moved = move(operator.node, x, operator.fill, opset)
    return [
        part if table is None else look_up(table, part)
        for part, table, output in zip(moved, operator.tables, operator.outputs, strict=True)
        if output is not None
    ]


def _per_tensor(total: AnyArray, requantization: Requantization) -> AnyArray:
    return requantize(total, requantization)


def _contents(tensor: QuantizedTensor, stored: Stored) -> AnyArray:
    if tensor.constant is not None:
        return tensor.constant
    return stored[tensor.value.name or ""]


def _centred(tensor: QuantizedTensor, stored: AnyArray) -> AnyArray:
    centred: np.ndarray[Any, np.dtype[np.int64]] = (
        stored.astype(np.int64) - tensor.affine.zero_point
    )
    return centred
