"""A model as an ONNX file without a copy of its weights in memory.

protobuf makes one message of everything, and of that one string of bytes: twice the weights. The
file is written here piece by piece instead:

    ModelProto without graph | tag, length | GraphProto without big weights | big weights

where each big weight is the TensorProto without its contents and then the contents: fields of a
message may stand in any order. A file above 2 GB no protobuf library reads, so there the contents
lie in a second file and the first says where.
"""

from collections.abc import Iterator

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.buffers import Buffer, Spool, bytes_of, forget
from edgecomp.graph.constants import AnyArray
from edgecomp.graph.counts import open_names, without_counted_sizes

#: Name of the file with the contents, in the folder of a bundle's model.
DATA_NAME = "model.onnx.data"

#: Contents smaller than this are written by protobuf.
_LEAST_BYTES = 1 << 20
_MOST_FILE_BYTES = (1 << 31) - (1 << 20)
_DATA_ALIGNMENT_BYTES = 4096

# Field numbers of onnx.proto, shifted by the wire type of a string of bytes.
_GRAPH, _INITIALIZER, _RAW_DATA = (number << 3 | 2 for number in (7, 5, 9))


def serialize(
    model: ir.Model, data_name: str = DATA_NAME, most_file_bytes: int = _MOST_FILE_BYTES
) -> tuple[Buffer, Buffer]:
    """The model's file, and the one beside it, empty where everything is in the first.

    Args:
        model: not changed.
        data_name: of the file beside it.
        most_file_bytes: a model whose file would be larger has its big weights beside it.
    """
    big = [value for value in model.graph.initializers.values() if _is_big(value)]
    if not big:
        proto = _proto(model)
        return proto.SerializeToString(deterministic=True), b""
    graph, rest = _without(model, big)
    if sum(_nbytes(value) for value in big) + len(graph) > most_file_bytes:
        return _beside(graph, rest, big, data_name)
    return _one_file(graph, rest, big), b""


def _proto(model: ir.Model) -> onnx.ModelProto:
    return without_counted_sizes(ir.serde.serialize_model(model), open_names(model))


def _is_big(value: ir.Value) -> bool:
    tensor = value.const_value
    return (
        tensor is not None and tensor.nbytes >= _LEAST_BYTES and tensor.dtype.bitwidth % 8 == 0
    )


def _without(model: ir.Model, big: list[ir.Value]) -> tuple[bytes, bytes]:
    """The graph without some of its initializers, and the model without its graph."""
    tensors = [value.const_value for value in big]
    try:
        for value in big:
            value.const_value = ir.Tensor(np.zeros(0, np.float32), name=value.name)
        proto = _proto(model)
    finally:
        for value, tensor in zip(big, tensors, strict=True):
            value.const_value = tensor
    names = {value.name for value in big}
    small = [each for each in proto.graph.initializer if each.name not in names]
    proto.graph.ClearField("initializer")
    proto.graph.initializer.extend(small)
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    return graph, proto.SerializeToString(deterministic=True)


def _one_file(graph: bytes, rest: bytes, big: list[ir.Value]) -> Buffer:
    heads = [_head(value) for value in big]
    sizes = [
        len(head) + len(_field(_RAW_DATA, _nbytes(value))) + _nbytes(value)
        for head, value in zip(heads, big, strict=True)
    ]
    fields = [_field(_INITIALIZER, size) for size in sizes]
    total = len(graph) + sum(map(len, fields)) + sum(sizes)
    spool = Spool()
    spool.write(rest)
    spool.write(_field(_GRAPH, total))
    spool.write(graph)
    for field, head, value in zip(fields, heads, big, strict=True):
        spool.write(field)
        spool.write(head)
        spool.write(_field(_RAW_DATA, _nbytes(value)))
        _write_contents(spool, value)
    return spool.finish()


def _beside(
    graph: bytes, rest: bytes, big: list[ir.Value], data_name: str
) -> tuple[Buffer, Buffer]:
    data, proto = Spool(), Spool()
    heads = []
    for value in big:
        data.write(bytes(-len(data) % _DATA_ALIGNMENT_BYTES))
        heads.append(_external(value, data_name, len(data)))
        _write_contents(data, value)
    fields = [_field(_INITIALIZER, len(head)) for head in heads]
    proto.write(rest)
    proto.write(_field(_GRAPH, len(graph) + sum(map(len, [*fields, *heads]))))
    proto.write(graph)
    for field, head in zip(fields, heads, strict=True):
        proto.write(field)
        proto.write(head)
    return proto.finish(), data.finish()


def _head(value: ir.Value) -> bytes:
    """TensorProto without contents."""
    content: bytes = _tensor_proto(value).SerializeToString(deterministic=True)
    return content


def _external(value: ir.Value, data_name: str, offset: int) -> bytes:
    """TensorProto whose contents lie in the file beside the model."""
    proto = _tensor_proto(value)
    proto.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": data_name, "offset": offset, "length": _nbytes(value)}
    for key, entry in entries.items():
        proto.external_data.append(onnx.StringStringEntryProto(key=key, value=str(entry)))
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _tensor_proto(value: ir.Value) -> onnx.TensorProto:
    tensor = value.const_value
    assert tensor is not None
    return onnx.TensorProto(
        name=value.name,
        dims=[int(d) for d in tensor.shape.numpy()],
        data_type=int(tensor.dtype),
    )


def _write_contents(spool: Spool, value: ir.Value) -> None:
    tensor = value.const_value
    assert tensor is not None
    array: AnyArray = tensor.numpy()
    spool.write(bytes_of(array.astype(array.dtype.newbyteorder("<"), copy=False)))
    forget(array)


def _nbytes(value: ir.Value) -> int:
    assert value.const_value is not None
    return value.const_value.nbytes


def _field(tag: int, length: int) -> bytes:
    """Tag and length of a field."""
    return bytes([tag, *_varint(length)])


def _varint(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number
