"""Indices that come at run time stay inside what they point into: no input reaches other memory.

    Gather(x, i)   =>   Gather(x, Min(Max(i, -s), s - 1))

Relax's kernels use an index as it is. Where the fallback reads a node its indices are bounded
first; Relax fuses both nodes into the kernel where it can.
"""

from typing import Any

import numpy as np
import onnx

from edgecomp.graph.index_bounds import INDEX_INPUTS, index_bounds


def bound_indices(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of one node with its indices bounded; the model itself where it has none."""
    (node,) = model.graph.node
    position = INDEX_INPUTS.get(node.op_type)
    if position is None:
        return model
    shapes = _shapes(model.graph)
    attributes: dict[str, Any] = {
        each.name: onnx.helper.get_attribute_value(each) for each in node.attribute
    }
    name = node.input[position]
    data, (indices, dtype) = shapes[node.input[0]][0], shapes[name]
    bounds = index_bounds(node.op_type, data, indices, attributes)
    bounded = onnx.ModelProto()
    bounded.CopyFrom(model)
    graph = bounded.graph
    previous = name
    for operator, bound in zip(("Max", "Min"), bounds, strict=True):
        limit, result = f"{name}_{operator.lower()}", f"{name}_after_{operator.lower()}"
        graph.initializer.append(onnx.numpy_helper.from_array(bound.astype(dtype), limit))
        graph.node.append(onnx.helper.make_node(operator, [previous, limit], [result]))
        previous = result
    graph.node.append(graph.node[0])
    del graph.node[0]
    graph.node[-1].input[position] = previous
    return bounded


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and dtype of every input and constant."""
    found = {}
    for value in graph.input:
        kind = value.type.tensor_type
        shape = tuple(d.dim_value for d in kind.shape.dim)
        found[value.name] = (shape, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))
    for tensor in graph.initializer:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        found[tensor.name] = (tuple(tensor.dims), dtype)
    return found
