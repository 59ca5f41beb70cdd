"""A model as text for people, dumps and golden files: weights left out."""

import onnx
import onnx_ir as ir

from edgecomp.graph.source import source_of

# Shapes, axes and scales are shown, weights are not.
_SHOWN_ELEMENTS = 8


def to_text(model: ir.Model, *, sources: bool = False) -> str:
    """The model in ONNX text form; constants above 8 elements shown as type and shape only.

    Args:
        model: the model, left unchanged.
        sources: append each node's ``file.py:line``.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(_without_weights(model))
    text = onnx.printer.to_text(proto)
    if not sources:
        return text + "\n"
    lines = [text, "sources:"]
    lines += [f"  {node.name}: {source_of(node)}" for node in model.graph if source_of(node)]
    return "\n".join(lines) + "\n"


def _without_weights(model: ir.Model) -> onnx.ModelProto:
    graph = onnx.GraphProto(name=model.graph.name or "model")
    graph.input.extend(_bare(value) for value in model.graph.inputs)
    graph.output.extend(_bare(value) for value in model.graph.outputs)
    for value in sorted(model.graph.initializers.values(), key=lambda each: each.name or ""):
        tensor = value.const_value
        assert tensor is not None
        if tensor.size <= _SHOWN_ELEMENTS and tensor.dtype != ir.DataType.STRING:
            shown = onnx.numpy_helper.from_array(tensor.numpy(), value.name)
            graph.initializer.append(_as_typed_data(shown))
        else:
            dims = list(tensor.shape.numpy())
            graph.value_info.append(
                onnx.helper.make_tensor_value_info(value.name or "", int(tensor.dtype), dims)
            )
    for node in model.graph:
        proto = ir.serde.serialize_node(node)
        attributes = sorted(proto.attribute, key=lambda each: each.name)
        del proto.attribute[:]
        proto.attribute.extend(attributes)
        graph.node.append(proto)
    result = onnx.ModelProto(ir_version=model.ir_version, graph=graph)
    for domain, version in model.opset_imports.items():
        result.opset_import.append(onnx.helper.make_opsetid(domain, version))
    return result


def _bare(value: ir.Value) -> onnx.ValueInfoProto:
    proto: onnx.ValueInfoProto = ir.serde.serialize_value(value)
    del proto.metadata_props[:]
    return proto


def _as_typed_data(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The printer shows typed fields as numbers, raw data as an ellipsis."""
    array = onnx.numpy_helper.to_array(tensor)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize < 1:
        return tensor
    if array.dtype.name not in ("float32", "float64", "int32", "int64"):
        return tensor
    return onnx.helper.make_tensor(
        tensor.name, tensor.data_type, tensor.dims, array.reshape(-1).tolist()
    )
