"""Shapes and types of one node from its inputs, with onnx's own inference rules."""

import functools
import logging
from collections.abc import Callable, Mapping

import onnx
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.bodies import bodies, captured_values
from edgecomp.graph.constants import AnyArray, constant_tensor
from edgecomp.graph.misfits import CHECKED, Operands, misfit
from edgecomp.graph.source import source_of

logger = logging.getLogger(__name__)

# Constants up to this many elements are shown to the inference rules (shapes, axes, scales).
_SHOWN_ELEMENTS = 256

_EXPORT_AGAIN = "run `python -m onnx.checker` on the file, or export the model again"

#: Defaults that onnx's rules of inference take for something else than the schema says.
_DEFAULTS = {"STFT": {"onesided": 1}}

_WINDOWED = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"})


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Extents of a value, None where the value is absent or any extent is unknown."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()


def infer_node(
    node: ir.Node,
    opset_imports: dict[str, int],
    known: Mapping[ir.Value, AnyArray] | None = None,
    *,
    binds: Callable[[ir.Value], bool] | None = None,
) -> bool:
    """Set types and shapes of a node's outputs from its inputs; returns whether any changed.

    Unknown extents that the file names stay where inference does not know better.

    Args:
        node: in a graph.
        opset_imports: versions of the domains.
        known: contents of values that are no constants but have them in this reading.
        binds: whether what the model declares of a result's shape has to be true (None: all);
            where it does not, the operator's own shape takes its place.

    Raises:
        EdgecompError: SHAPE_CONFLICT where the inputs do not fit together or the result
            disagrees with what the model declares, naming the node.
    """
    inferred = _infer(node, opset_imports, known or {})
    changed = False
    for value in node.outputs:
        proto = inferred.get(value.name or "")
        if proto is None or proto.WhichOneof("value") is None:
            continue
        changed |= merge_type(node, value, ir.serde.deserialize_type_proto_for_type(proto))
        shape = ir.serde.deserialize_type_proto_for_shape(proto)
        changed |= merge_shape(node, value, shape, binds=binds is None or binds(value))
        _refuse_empty_windows(node, value)
    if node.domain == "" and node.op_type in CHECKED:
        _refuse_misfit(node)
    return changed


def _infer(
    node: ir.Node, opset_imports: dict[str, int], known: Mapping[ir.Value, AnyArray]
) -> dict[str, onnx.TypeProto]:
    schema = _schema(node.op_type, node.domain, opset_imports.get(node.domain, 0))
    visible = [value for value in node.inputs if value is not None]
    for body in bodies(node):
        visible += captured_values(body)
    types = {value.name: _type_proto(value) for value in visible}
    if schema is None or any(proto is None for proto in types.values()):
        return {}
    data = {}
    for value in visible:
        tensor = constant_tensor(value)
        if value in known:
            tensor = ir.Tensor(known[value])
        if tensor is not None and tensor.size <= _SHOWN_ELEMENTS:
            shown = ir.serde.serialize_tensor(tensor)
            shown.name = value.name or ""
            data[value.name] = shown
    opsets = [onnx.helper.make_opsetid(*item) for item in opset_imports.items()]
    try:
        return onnx.shape_inference.infer_node_outputs(
            schema,
            _with_defaults(node),
            types,  # type: ignore[arg-type]
            data,  # type: ignore[arg-type]
            opset_imports=opsets,
        )
    except (
        onnx.shape_inference.InferenceError,
        onnx.checker.ValidationError,
        RuntimeError,
        ValueError,
    ) as error:
        shapes = ", ".join(
            f"{value.name} {value.dtype} {value.shape or '?'}" for value in visible
        )
        problem = (
            f"{node.op_type} cannot take its inputs: {_first_line(error)}; inputs: {shapes}"
        )
        raise shape_conflict(node, problem, _EXPORT_AGAIN) from error


def _with_defaults(node: ir.Node) -> onnx.NodeProto:
    proto: onnx.NodeProto = ir.serde.serialize_node(node)
    for name, value in _DEFAULTS.get(node.op_type, {}).items():
        if name not in node.attributes:
            proto.attribute.append(onnx.helper.make_attribute(name, value))
    return proto


@functools.cache
def _schema(operator: str, domain: str, version: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return None


def _type_proto(value: ir.Value) -> onnx.TypeProto | None:
    if value.type is None:
        return None
    proto: onnx.TypeProto = ir.serde.serialize_type(value.type)
    if value.shape is not None:
        ir.serde.serialize_shape_into(proto, value.shape)
    return proto


def merge_type(node: ir.Node, value: ir.Value, inferred: ir.TypeProtocol | None) -> bool:
    """Give a value its type; an error where the model declares another one."""
    if inferred is None or value.type == inferred:
        return False
    if value.type is not None and value.dtype not in (None, ir.DataType.UNDEFINED):
        raise shape_conflict(
            node,
            f"'{value.name}' is declared as {value.type}, but {node.op_type} gives {inferred}",
            "remove the declared types (value_info), or export the model again",
        )
    value.type = inferred
    return True


def merge_shape(
    node: ir.Node, value: ir.Value, inferred: ir.Shape | None, *, binds: bool = True
) -> bool:
    """Join what is inferred with what is declared; an error where they contradict.

    Where the declared shape does not bind, one that contradicts is forgotten.
    """
    if inferred is None:
        return False
    declared = value.shape
    if declared is None:
        value.shape = inferred
        return True
    if len(declared) != len(inferred) or any(
        isinstance(one, int) and isinstance(other, int) and one != other
        for one, other in zip(declared, inferred, strict=True)
    ):
        found = f"'{value.name}' is declared with shape {declared}, but {node.op_type} gives {inferred}"
        if not binds:
            logger.info("%s: the latter is taken", found)
            value.shape = inferred
            return True
        raise shape_conflict(
            node,
            found,
            "remove the declared shapes (value_info), or export the model again",
        )
    merged = [
        other if isinstance(other, int) else one
        for one, other in zip(declared, inferred, strict=True)
    ]
    if list(declared) == merged:
        return False
    value.shape = ir.Shape(merged)
    return True


def _refuse_empty_windows(node: ir.Node, value: ir.Value) -> None:
    """A window larger than its padded image gives an extent below 1, which onnx lets pass."""
    shape = static_shape(value)
    if shape is None:
        return
    least = 1 if node.op_type in _WINDOWED else 0
    if all(extent >= least for extent in shape):
        return
    source = node.inputs[0] if node.inputs else None
    taken = f", its input is {source.shape}" if source is not None else ""
    raise shape_conflict(
        node,
        f"the result of {node.op_type} would have shape {value.shape}{taken}",
        "the window is larger than the image: give a larger input",
    )


def _refuse_misfit(node: ir.Node) -> None:
    shapes = ([static_shape(v) for v in values] for values in (node.inputs, node.outputs))
    problem = misfit(Operands(node, *shapes))
    if problem:
        raise shape_conflict(
            node, f"{node.op_type} cannot take its inputs: {problem}", _EXPORT_AGAIN
        )


def shape_conflict(node: ir.Node, cause: str, hint: str) -> EdgecompError:
    """The error of a node whose types or shapes do not fit."""
    return EdgecompError(
        Code.SHAPE_CONFLICT,
        cause,
        node=node.name or _first_output(node),
        source=source_of(node),
        hint=hint,
    )


def _first_output(node: ir.Node) -> str:
    return next((value.name for value in node.outputs if value.name), "")


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0].split("] ")[-1].rstrip(".") if text else type(error).__name__
