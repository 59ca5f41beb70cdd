"""A model without its big weights, for the C++ tools of onnx.

Checker, shape inference and version converter copy the whole protobuf and cannot take more than
2 GB; none of them needs the values of large weights, only their types and shapes.
"""

import onnx
import onnx_ir as ir

# Shape arithmetic lives in small tensors; weights beyond this become graph inputs.
_KEPT_BYTES = 1024


def skeleton_proto(model: ir.Model) -> onnx.ModelProto:
    """The model as a protobuf in which initializers above 1 KB are graph inputs at the end."""
    graph = onnx.GraphProto(name=model.graph.name or "model")
    graph.input.extend(ir.serde.serialize_value(value) for value in model.graph.inputs)
    graph.output.extend(ir.serde.serialize_value(value) for value in model.graph.outputs)
    given = {value.name for value in model.graph.inputs}
    for value in model.graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        if tensor.nbytes <= _KEPT_BYTES:
            # Small tensors may lie beside the file as well: here they are embedded.
            embedded = tensor if tensor.dtype == ir.DataType.STRING else _embedded(tensor)
            graph.initializer.append(ir.serde.serialize_tensor(embedded))
        if value.name in given:
            continue
        if tensor.nbytes > _KEPT_BYTES or model.ir_version < 4:
            dims = [int(extent) for extent in tensor.shape.numpy()]
            graph.input.append(
                onnx.helper.make_tensor_value_info(value.name or "", int(tensor.dtype), dims)
            )
    outputs = {value.name for value in model.graph.outputs}
    for node in model.graph:
        graph.node.append(ir.serde.serialize_node(node))
        for value in node.outputs:
            if value.name and value.type is not None and value.name not in outputs:
                graph.value_info.append(ir.serde.serialize_value(value))
    proto = onnx.ModelProto(ir_version=model.ir_version or 10, graph=graph)
    for domain, version in model.opset_imports.items():
        proto.opset_import.append(onnx.helper.make_opsetid(domain, version))
    return proto


def _embedded(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=tensor.name)
