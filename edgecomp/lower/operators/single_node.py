"""A node that no family reads, as a model of its own for the fallback."""

import onnx
import onnx_ir as ir

from edgecomp.graph.constants import constant_array
from edgecomp.lower.reader import Reader
from edgecomp.plan.operations import Fallback


def read_single_node(reader: Reader, node: ir.Node) -> None:
    """Emit a Fallback with every input that the node has, constants included."""
    inputs = [reader.value(value) for value in node.inputs if value is not None]
    outputs = [reader.value(value) for value in node.outputs if value.name]
    model = single_node_model(node)
    kind = Fallback(model.SerializeToString(deterministic=True), node.op_type)
    reader.emit(kind, inputs, outputs, [node])


def single_node_model(node: ir.Node) -> onnx.ModelProto:
    """The node alone: inputs i0, i1 ... (constants as initializers), outputs o0, o1 ..."""
    proto = ir.serde.serialize_node(node)
    proto.ClearField("metadata_props")
    graph = onnx.GraphProto(name="single_node")
    present = [value for value in node.inputs if value is not None]
    names = {value.name: f"i{index}" for index, value in enumerate(present)}
    for value in dict.fromkeys(present):
        contents = constant_array(value)
        name = names[value.name]
        if contents is not None:
            graph.initializer.append(onnx.numpy_helper.from_array(contents, name))
        else:
            graph.input.append(_value_info(value, name))
    for position, source in enumerate(node.inputs):
        proto.input[position] = names[source.name] if source is not None else ""
    written = [value for value in node.outputs if value.name]
    for index, value in enumerate(written):
        proto.output[node.outputs.index(value)] = f"o{index}"
        graph.output.append(_value_info(value, f"o{index}"))
    graph.node.append(proto)
    owner = node.graph
    assert owner is not None
    imports = [
        onnx.helper.make_opsetid(domain, version)
        for domain, version in sorted(owner.opset_imports.items())
    ]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)


def _value_info(value: ir.Value, name: str) -> onnx.ValueInfoProto:
    info = ir.serde.serialize_value(value)
    info.name = name
    info.ClearField("metadata_props")
    return info
