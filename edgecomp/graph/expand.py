"""Operators that ONNX defines by other operators, replaced by that definition.

    Attention(q, k, v)   =>   Mul, Transpose, MatMul, Add, Softmax, MatMul ...

onnx carries the definition as a function of the operator's schema; some depend on the node's
attributes and input types. Operators that a schedule or a kernel computes directly stay whole.
"""

from typing import Any

import onnx
import onnx_ir as ir

from edgecomp.graph.definitions import defined_function
from edgecomp.graph.inline import inline_graph
from edgecomp.graph.microsoft.definitions import DOMAIN as MICROSOFT
from edgecomp.graph.source import copy_source

#: Expanded always: nothing computes them directly.
ALWAYS = frozenset(
    {
        "AffineGrid",
        "Attention",
        "BlackmanWindow",
        "CausalConvWithState",
        "CenterCropPad",
        "FlexAttention",
        "GroupNormalization",
        "HammingWindow",
        "HannWindow",
        "LinearAttention",
        "MeanVarianceNormalization",
        "NegativeLogLikelihoodLoss",
        "RMSNormalization",
        "RotaryEmbedding",
        "SoftmaxCrossEntropyLoss",
        "SwiGLU",
    }
)

_DOMAINS = ("", "ai.onnx", "ai.onnx.preview", MICROSOFT)


def expand_node(node: ir.Node, opset_imports: dict[str, int]) -> list[ir.Node] | None:
    """Replace a node by its definition; returns the nodes that took its place, None for none.

    Args:
        node: in a graph, with the types of its inputs known.
        opset_imports: versions of the domains.
    """
    if node.domain not in _DOMAINS:
        return None
    function = defined_function(node, opset_imports.get("", 1))
    if function is None and _wanted(node):
        function = _definition(node, opset_imports)
    if function is None:
        return None
    graph = _instance(function, node)
    if graph is None:
        return None
    for each in graph:
        copy_source(node, each)
    return inline_graph(node, graph, list(node.inputs))


def _wanted(node: ir.Node) -> bool:
    if node.domain == MICROSOFT:
        return False
    if node.op_type in ALWAYS:
        return True
    if node.op_type == "LayerNormalization":
        return any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    return False


def _definition(node: ir.Node, opset_imports: dict[str, int]) -> onnx.FunctionProto | None:
    version = opset_imports.get(node.domain, 1)
    try:
        # The stubs of onnx leave the methods about functions out.
        schema: Any = onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return None
    # Bodies are written in the standard domain: its version picks the body.
    standard = opset_imports.get("", version)
    content = b""
    if schema.has_context_dependent_function:
        fitting = [
            v for v in schema.context_dependent_function_opset_versions if v <= standard
        ]
        types = [_type_bytes(value) for value in node.inputs]
        proto = ir.serde.serialize_node(node).SerializeToString()
        if fitting:
            content = schema.get_context_dependent_function_with_opset_version(
                max(fitting), proto, types
            )
    elif schema.has_function:
        fitting = [v for v in schema.function_opset_versions if v <= standard]
        if fitting:
            content = schema.get_function_with_opset_version(max(fitting))
    if not content:
        return None
    function = onnx.FunctionProto()
    function.ParseFromString(content)
    return function


def _type_bytes(value: ir.Value | None) -> bytes:
    if value is None or value.type is None:
        return b""
    proto: onnx.TypeProto = ir.serde.serialize_type(value.type)
    if value.shape is not None:
        ir.serde.serialize_shape_into(proto, value.shape)
    content: bytes = proto.SerializeToString()
    return content


def _instance(function: onnx.FunctionProto, node: ir.Node) -> ir.Graph | None:
    """The function's body as a graph whose inputs are the node's present inputs, in order."""
    given = {each.name: each for each in ir.serde.serialize_node(node).attribute}
    defaults = {each.name: each for each in function.attribute_proto}
    attributes = {**_schema_defaults(node), **defaults, **given}
    prefix = f"{node.name}."
    absent = {
        name
        for index, name in enumerate(function.input)
        if index >= len(node.inputs) or node.inputs[index] is None
    }
    proto = onnx.GraphProto(name=function.name)
    for body in function.node:
        copy = proto.node.add()
        copy.CopyFrom(body)
        _rename(copy, prefix, absent)
        _set_attributes(copy, attributes)
    for index, name in enumerate(function.input):
        if name not in absent:
            value = node.inputs[index]
            assert value is not None
            info = ir.serde.serialize_value(value)
            info.name = prefix + name
            info.ClearField("metadata_props")
            proto.input.append(info)
    for name in function.output[: len(node.outputs)]:
        proto.output.append(onnx.ValueInfoProto(name=prefix + name))
    return ir.serde.deserialize_graph(proto)


def _schema_defaults(node: ir.Node) -> dict[str, onnx.AttributeProto]:
    if not onnx.defs.has(node.op_type, node.domain):
        return {}
    schema = onnx.defs.get_schema(node.op_type, node.domain)
    return {
        name: attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type
    }


def _rename(node: onnx.NodeProto, prefix: str, absent: set[str]) -> None:
    """Give every name of a node, those in its subgraphs included, the prefix."""
    node.name = prefix + (node.name or next((name for name in node.output if name), ""))
    for names in (node.input, node.output):
        for index, name in enumerate(names):
            names[index] = prefix + name if name and name not in absent else ""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            graph = attribute.g
            for value in (*graph.input, *graph.output, *graph.initializer, *graph.value_info):
                value.name = prefix + value.name
            for inner in graph.node:
                _rename(inner, prefix, absent)


def _set_attributes(node: onnx.NodeProto, values: dict[str, onnx.AttributeProto]) -> None:
    """Put the call's attributes where the body refers to them; absent ones are left out."""
    kept = []
    for attribute in node.attribute:
        if attribute.HasField("g"):
            for inner in attribute.g.node:
                _set_attributes(inner, values)
        if not attribute.ref_attr_name:
            kept.append(attribute)
        elif attribute.ref_attr_name in values:
            value = onnx.AttributeProto()
            value.CopyFrom(values[attribute.ref_attr_name])
            value.name = attribute.name
            kept.append(value)
    copies = [onnx.AttributeProto.FromString(each.SerializeToString()) for each in kept]
    del node.attribute[:]
    node.attribute.extend(copies)
