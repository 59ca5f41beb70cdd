"""A model in float16 or bfloat16 as one in float32, for devices that choose what is stored in 16 bits.

    x float16 -> Conv (float16 weights) -> Relu -> y float16
    ->
    x float16 -> Cast -> Conv (the same weights, float32) -> Relu -> Cast -> y float16

Between the ports everything is float32: casts between the two types are gone. Results are those
of the model without the rounding between its operators. Models with branches or loops stay.
"""

import ml_dtypes  # noqa: F401 - numpy then knows bfloat16
import numpy as np
import onnx_ir as ir

from edgecomp.graph.bodies import is_control_flow
from edgecomp.graph.constants import is_constant
from edgecomp.graph.match import is_operator
from edgecomp.graph.names import unused_name
from edgecomp.graph.source import copy_source
from edgecomp.passes.outcome import Numerics, Outcome, finish

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
#: What a model in 16 bits is known by.
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: Attributes that name the type of a result.
_TYPE_ATTRIBUTES = ("to", "dtype")


def half_type(model: ir.Model) -> ir.DataType | None:
    """The type of 16 bits that a model's products compute in, None where they do not."""
    if any(is_control_flow(node) for node in model.graph):
        return None
    for node in model.graph:
        x = node.inputs[0] if is_operator(node, *_PRODUCTS) else None
        if x is not None and x.dtype in _HALVES and not is_constant(x):
            return x.dtype
    return None


class WidenHalvesPass(ir.passes.InPlacePass):
    """Compute in float32 what a model computes in floats of 16 bits.

    Scope: main graph.  Numerics: float-reassociated (rounded less often).
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Change types, then the edges."""
        if half_type(model) is None:
            return finish(type(self).__name__, model, 0)
        graph = model.graph
        outputs = [value for value in graph.outputs if value.dtype in _HALVES]
        kept = {value: value.dtype for value in (*graph.inputs, *outputs)}
        for value in graph.initializers.values():
            if value.dtype in _HALVES and value.const_value is not None:
                value.const_value = _wide(value.const_value)
                value.dtype = ir.DataType.FLOAT
        for node in graph:
            _widen_node(node)
        for value in graph.inputs:
            if value.dtype in _HALVES:
                _cast_input(graph, value)
        for value in outputs:
            _cast_output(graph, value, kept[value])
        return finish(type(self).__name__, model, 1)


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)


def _widen_node(node: ir.Node) -> None:
    for value in node.outputs:
        if value.dtype in _HALVES:
            value.dtype = ir.DataType.FLOAT
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR:
            tensor = attribute.as_tensor()
            if tensor.dtype in _HALVES:
                node.attributes[name] = ir.AttrTensor(name, _wide(tensor))
        elif name in _TYPE_ATTRIBUTES and attribute.type == ir.AttributeType.INT:
            if attribute.as_int() in _HALVES:
                node.attributes[name] = ir.AttrInt64(name, ir.DataType.FLOAT)


def _cast_input(graph: ir.Graph, value: ir.Value) -> None:
    users = tuple(value.uses())
    cast = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT})
    cast.outputs[0].name = unused_name(graph, f"{value.name}_wide")
    cast.outputs[0].dtype, cast.outputs[0].shape = ir.DataType.FLOAT, value.shape
    cast.name = cast.outputs[0].name
    graph.insert_before(graph[0], cast)
    for user, index in users:
        user.replace_input_with(index, cast.outputs[0])


def _cast_output(graph: ir.Graph, value: ir.Value, dtype: ir.DataType | None) -> None:
    producer = value.producer()
    assert dtype is not None
    if producer is None:
        return  # an input, which has its type
    cast = ir.node("Cast", [value], attributes={"to": dtype})
    copy_source(producer, cast)
    after, name = cast.outputs[0], value.name
    after.dtype, after.shape = dtype, value.shape
    graph.append(cast)
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = after
    value.name = unused_name(graph, f"{name}_wide")
    after.name = cast.name = name
