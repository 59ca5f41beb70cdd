"""An ONNX file to a protobuf and then to onnx_ir, with every way it can be bad named."""

import pathlib

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.onnx_structure import check_structure

#: Opset versions of the standard domain that can be read.
OPSETS = range(1, 29)
_NEWEST_IR = 14
#: Kinds of numpy's own numbers.
_PLAIN_KINDS = "biuf"

# What people take for a model file, by suffix.
_NOT_ONNX = {
    ".pt": "a file of weights or a TorchScript archive",
    ".pth": "a file of weights",
    ".ckpt": "a checkpoint",
    ".bin": "a file of weights",
    ".safetensors": "a file of weights",
    ".tflite": "a TensorFlow Lite model",
    ".ort": "a model in onnxruntime's own format",
    ".h5": "a Keras file",
    ".keras": "a Keras file",
}


def read_onnx(path: pathlib.Path) -> ir.Model:
    """Read and check an ONNX file; weights beside it are mapped, not copied.

    Raises:
        EdgecompError: FILE_MISSING, MODEL_UNREADABLE, MODEL_INVALID, EXTERNAL_DATA,
            OPSET_UNSUPPORTED, OPERATOR_UNSUPPORTED.
    """
    proto = read_proto(path)
    try:
        check_proto(proto)
        _check_external_data(proto, path.parent)
        model = to_ir(proto)
    except EdgecompError as error:
        error.path = error.path or str(path)
        raise
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def to_ir(proto: onnx.ModelProto) -> ir.Model:
    """Protobuf to onnx_ir.

    Raises:
        EdgecompError: MODEL_INVALID.
    """
    try:
        model = ir.from_proto(proto)
        for value in model.graph.initializers.values():
            value.const_value = _read_once(value.const_value)
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        reason: BaseException = error
        while reason.__cause__ is not None:
            reason = reason.__cause__
        raise EdgecompError(
            Code.MODEL_INVALID,
            f"the model cannot be read: {str(reason) or type(reason).__name__}",
            hint="the file is damaged, or newer than the installed onnx packages",
        ) from error
    return model


def _read_once(tensor: ir.TensorProtocol | None) -> ir.TensorProtocol | None:
    """A tensor as an array of numpy, where its type is one: a protobuf's is copied at every use."""
    if not isinstance(tensor, ir.serde.TensorProtoTensor):
        return tensor
    array = tensor.numpy()
    if array.dtype.kind not in _PLAIN_KINDS:
        return tensor
    return ir.Tensor(
        array,
        tensor.dtype,
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=tensor.metadata_props,
    )


def read_proto(path: pathlib.Path) -> onnx.ModelProto:
    """Bytes to a protobuf that has a graph; external data is not touched."""
    if not file_exists(path):
        raise EdgecompError(Code.FILE_MISSING, "no such file", path=str(path))
    if path.is_dir():
        raise EdgecompError(
            Code.FILE_MISSING,
            "a folder, not a model",
            path=str(path),
            hint="name the file in it",
        )
    if not path.is_file():
        raise EdgecompError(
            Code.MODEL_UNREADABLE,
            "a pipe or a device, not a file",
            path=str(path),
            hint="write the model into a file first: it is read more than once",
        )
    if path.suffix.lower() in _NOT_ONNX:
        raise EdgecompError(
            Code.MODEL_UNREADABLE,
            f"{_NOT_ONNX[path.suffix.lower()]}, not an ONNX model",
            path=str(path),
            hint="give an .onnx or .pt2 file, or file.py:function that returns the module and "
            "its example inputs",
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EdgecompError(
            Code.MODEL_UNREADABLE, f"cannot be read: {error.strerror}", path=str(path)
        ) from error
    if not content:
        raise EdgecompError(
            Code.MODEL_UNREADABLE, "the file is empty", path=str(path), hint="export it again"
        )
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except DecodeError as error:
        raise _not_onnx(content, path) from error
    # Random bytes can pass for a protobuf of unknown fields.
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise _not_onnx(content, path)
    return proto


def check_proto(proto: onnx.ModelProto) -> None:
    """Versions, structure and the rules of onnx's own checker."""
    if proto.ir_version > _NEWEST_IR:
        raise EdgecompError(
            Code.OPSET_UNSUPPORTED,
            f"IR version {proto.ir_version} is newer than {_NEWEST_IR}",
            hint="export with an older onnx package, or set model.ir_version to 13",
        )
    version = standard_opset(proto)
    if version not in OPSETS:
        raise EdgecompError(
            Code.OPSET_UNSUPPORTED,
            f"opset {version} is outside {OPSETS.start} to {OPSETS.stop - 1}",
            hint="export again with opset 21",
        )
    check_structure(proto)


def standard_opset(proto: onnx.ModelProto) -> int:
    """Version of the standard domain; 1 where the file names none (as ONNX defines)."""
    versions = [each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")]
    return max(versions, default=1)


def _check_external_data(proto: onnx.ModelProto, folder: pathlib.Path) -> None:
    """Data beside the model must lie inside its folder and be long enough."""
    tensors = _all_initializers(proto.graph)
    for function in proto.functions:
        tensors += _all_initializers(onnx.GraphProto(node=function.node))
    for tensor in tensors:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entry = {each.key: each.value for each in tensor.external_data}
        location = entry.get("location", "")
        path = folder / location
        if (
            not location
            or pathlib.PurePath(location).is_absolute()
            or not _is_inside(path, folder)
        ):
            raise EdgecompError(
                Code.EXTERNAL_DATA,
                f"initializer '{tensor.name}' has its data at '{location}', outside the "
                "model's folder",
                node=tensor.name,
                hint="save the model again with its data beside it",
            )
        if not path.is_file():
            raise EdgecompError(
                Code.EXTERNAL_DATA,
                f"initializer '{tensor.name}' has its data in '{location}', which is missing",
                node=tensor.name,
                hint="copy the data file along with the .onnx file",
            )
        _check_extent(tensor, entry, path)


def _check_extent(tensor: onnx.TensorProto, entry: dict[str, str], path: pathlib.Path) -> None:
    dtype = ir.DataType(tensor.data_type)
    count = 1
    for extent in tensor.dims:
        count *= extent
    needed_bytes = (count * dtype.bitwidth + 7) // 8
    try:
        offset = int(entry.get("offset", "0") or 0)
        length = int(entry.get("length", "0") or 0) or needed_bytes
    except ValueError as error:
        raise EdgecompError(
            Code.EXTERNAL_DATA,
            f"initializer '{tensor.name}' has an offset or length that is no number",
            node=tensor.name,
            hint="the file is damaged: save the model again",
        ) from error
    size_bytes = path.stat().st_size
    if offset < 0 or length < needed_bytes or offset + needed_bytes > size_bytes:
        raise EdgecompError(
            Code.EXTERNAL_DATA,
            f"initializer '{tensor.name}' needs {needed_bytes} bytes at {offset} of "
            f"'{path.name}', which has {size_bytes} bytes",
            node=tensor.name,
            hint="the data file is cut off or belongs to another model",
        )


def file_exists(path: pathlib.Path) -> bool:
    """Whether a file is there; a name that no file can have (too long) is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _is_inside(path: pathlib.Path, folder: pathlib.Path) -> bool:
    """Whether a path, links followed, stays inside a folder."""
    return path.resolve().is_relative_to(folder.resolve())


def _all_initializers(graph: onnx.GraphProto) -> list[onnx.TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found += _all_initializers(attribute.g)
            if attribute.HasField("t"):
                found.append(attribute.t)
    return found


def _not_onnx(content: bytes, path: pathlib.Path) -> EdgecompError:
    start = content[:256]
    if b"git-lfs" in start:
        kind, hint = "is a Git LFS pointer", "run `git lfs pull`"
    elif all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in start):
        kind, hint = "is text", "for ONNX text form, convert it with onnx.parser first"
    elif start.startswith(b"PK"):
        kind, hint = "is a zip archive", "a torch.export archive must be named .pt2"
    else:
        kind, hint = "is cut off, or of another kind", "compare its size with the original's"
    return EdgecompError(
        Code.MODEL_UNREADABLE,
        f"not an ONNX model: the file {kind}",
        path=str(path),
        hint=hint,
    )
