"""Constants of a graph: read them as numpy arrays, make new ones."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.names import unused_name

AnyArray = npt.NDArray[Any]

_VIEW_BYTES = 1 << 20


def constant_tensor(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor of an initializer or of a Constant node's output, None for anything else.

    An initializer that is also a graph input is a default that the caller may replace, hence
    not constant.
    """
    if value is None:
        return None
    if value.producer() is None:
        if value.is_graph_input() or not value.is_initializer():
            return None
        return value.const_value
    return ir.convenience.get_const_tensor(value)


def constant_array(value: ir.Value | None) -> AnyArray | None:
    """The constant as a numpy array in ONNX shape, None where the value is not constant."""
    tensor = constant_tensor(value)
    return None if tensor is None else tensor.numpy()


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is known before the model runs."""
    return constant_tensor(value) is not None


def scalar(value: ir.Value | None) -> float | None:
    """The single element of a constant, None where it is not constant or has more elements."""
    tensor = constant_tensor(value)
    if tensor is None or tensor.size != 1:
        return None
    return float(tensor.numpy().reshape(()))


def is_one_row(shape: Sequence[int], columns: int) -> bool:
    """Whether an addend of a matrix is one number, or one for each column.

    [M, 1] is neither, although it has as many elements as there are columns where M is that number.
    """
    return math.prod(shape) == 1 or (
        tuple(shape[-1:]) == (columns,) and math.prod(shape) == columns
    )


def compact(array: AnyArray) -> AnyArray:
    """The array without gaps in memory: row-major, or a large one as it lies.

    A transposed view of weights in a mapped file takes no memory; a copy would.
    """
    if array.nbytes >= _VIEW_BYTES and _is_permuted(array):
        return array
    return np.ascontiguousarray(array).reshape(array.shape)


def _is_permuted(array: AnyArray) -> bool:
    """Whether the array is row-major but for the order of its dimensions."""
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    return bool(array.transpose(order).flags.c_contiguous)


def new_initializer(graph: ir.Graph, name: str, array: AnyArray) -> ir.Value:
    """Register an array as an initializer.

    Args:
        graph: the graph that gets it.
        name: wanted name; a number is appended where it is taken.
        array: any dtype that ONNX knows, any shape.
    """
    array = compact(np.asarray(array))
    unique = unused_name(graph, name)
    tensor = ir.Tensor(array, name=unique)
    value = ir.Value(
        name=unique,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value
