"""Graph inputs whose contents are known at build time become constants."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.constant_spec import ConstantSpec
from edgecomp.frontend.graph_inputs import named_inputs
from edgecomp.graph.constants import AnyArray


def bind_inputs(model: ir.Model, constants: Mapping[str, AnyArray | ConstantSpec]) -> None:
    """Replace graph inputs by initializers, so that what they decide can be folded.

    Args:
        model: changed in place.
        constants: name of a graph input -> its contents, in the input's dtype, or what a user
            wrote for them.

    Raises:
        EdgecompError: USAGE for an unknown input, SHAPE_CONFLICT for contents that the input
            cannot have.
    """
    by_name = named_inputs(model, constants, "--constant")
    for name, given in constants.items():
        value = by_name[name]
        array = given.array(value) if isinstance(given, ConstantSpec) else np.asarray(given)
        _bind(model.graph, value, array)


def _bind(graph: ir.Graph, value: ir.Value, array: AnyArray) -> None:
    contents = np.ascontiguousarray(array).reshape(array.shape)
    tensor = ir.Tensor(contents, name=value.name)
    if value.dtype is not None and value.dtype != tensor.dtype:
        raise _conflict(value, f"its dtype is {value.dtype.name.lower()}")
    if value.shape is not None and not _fits(value.shape, array.shape):
        raise _conflict(value, f"its shape is {value.shape}")
    graph.inputs.remove(value)
    value.shape, value.type = ir.Shape(array.shape), ir.TensorType(tensor.dtype)
    value.const_value = tensor
    graph.register_initializer(value)


def _fits(declared: ir.Shape, shape: tuple[int, ...]) -> bool:
    return len(declared) == len(shape) and all(
        not isinstance(extent, int) or extent == given
        for extent, given in zip(declared, shape, strict=True)
    )


def _conflict(value: ir.Value, why: str) -> EdgecompError:
    return EdgecompError(
        Code.SHAPE_CONFLICT,
        f"the constant for input '{value.name}' contradicts the model: {why}",
        node=value.name or "",
    )
