"""Kernels for one ONNX node without a schedule, made by Relax: right, and slow.

What Relax imports wrongly is refused here, so that a build ends with an error and never with
wrong numbers.
"""

from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.operators.single_node import single_node_model
from edgecomp.lower.relax_refusals import refusal
from edgecomp.plan.movement import StridedCopy
from edgecomp.plan.operations import Fallback, Operation
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import strided_copy
from edgecomp.schedules.schedule import Constant, KernelCall

# TVM is imported where there is something for Relax to do.
if TYPE_CHECKING:
    from edgecomp.lower.relax_import import Imported, Tensor


def fallback_reason(node: ir.Node) -> str:
    """Why the fallback cannot run a node, "" if it can."""
    return model_refusal(single_node_model(node))


def model_refusal(model: onnx.ModelProto) -> str:
    """Why the fallback cannot run a model of one node, "" if it can."""
    reason = refusal(model)
    if reason:
        return reason
    from edgecomp.lower.relax_import import ImportRefusedError, import_node

    try:
        imported = import_node(model.SerializeToString(deterministic=True))
    except ImportRefusedError as error:
        return str(error)
    return _output_refusal(imported, model)


def _output_refusal(imported: "Imported", model: onnx.ModelProto) -> str:
    """Outputs have to be those that ONNX's own shape inference found."""
    outputs = model.graph.output
    if len(imported.outputs) != len(outputs):
        return f"{len(imported.outputs)} results instead of {len(outputs)}"
    for number, info in zip(imported.outputs, outputs, strict=True):
        tensor = imported.tensors[number]
        kind = info.type.tensor_type
        shape = tuple(d.dim_value for d in kind.shape.dim)
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
        if (shape, dtype) != (tensor.shape, tensor.dtype):
            return f"result is {tensor.dtype}{list(tensor.shape)}, not {dtype}{list(shape)}"
    return ""


def emit_fallback(operation: Operation, target: Target) -> list[KernelCall]:
    """The kernel calls of a Fallback operation, each with one work item.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED where ``fallback_reason`` gives a reason.
    """
    kind = operation.kind
    assert isinstance(kind, Fallback)
    from edgecomp.lower.relax_import import ImportRefusedError, import_node
    from edgecomp.lower.relax_kernel import make_kernel

    try:
        imported = import_node(kind.model)
    except ImportRefusedError as error:
        raise _unsupported(operation, str(error)) from error
    arguments = _arguments(imported, operation)
    calls: list[KernelCall] = []
    for call in imported.calls:
        raw = make_kernel(call.function, f"fallback_{kind.operator.lower()}")
        calls.append(
            KernelCall(
                raw.kernel,
                tuple(arguments[number] for number in call.arguments),
                1,
                raw.workspace_bytes,
            )
        )
    for number, output in zip(imported.outputs, operation.outputs, strict=True):
        if arguments[number] is not output:
            calls += _copy(arguments[number], output, target)
    return calls


def _arguments(imported: "Imported", operation: Operation) -> list[Value | Constant]:
    """A value or constant for every tensor: the operation's own where there is one."""
    written = {number for call in imported.calls for number in call.arguments}
    own: dict[int, Value] = {}
    for number, output in zip(imported.outputs, operation.outputs, strict=True):
        tensor = imported.tensors[number]
        if number in written and tensor.input < 0 and tensor.constant is None:
            own.setdefault(number, output)
    return [
        own.get(number) or _argument(tensor, number, operation)
        for number, tensor in enumerate(imported.tensors)
    ]


def _argument(tensor: "Tensor", number: int, operation: Operation) -> Value | Constant:
    if tensor.input >= 0:
        return operation.inputs[tensor.input]
    name = f"{operation.outputs[0].name}.{number}"
    if tensor.constant is not None:
        return Constant(name, tensor.constant)
    return Value(name, tensor.shape, tensor.dtype)


def _copy(source: Value | Constant, output: Value, target: Target) -> list[KernelCall]:
    """An output that is an input, a constant or another output."""
    if isinstance(source, Constant):
        shape, dtype = source.array.shape, source.array.dtype.name
        source = Value(source.name, shape, dtype, constant=source.array)
    rank = len(output.shape)
    zeros, ones = (0,) * rank, (1,) * rank
    kind = StridedCopy(output.shape, tuple(range(rank)), zeros, ones, zeros, ones)
    return strided_copy.emit(Operation(kind, [source], [output]), target)


def _unsupported(operation: Operation, reason: str) -> EdgecompError:
    kind = operation.kind
    assert isinstance(kind, Fallback)
    return EdgecompError(
        Code.OPERATOR_UNSUPPORTED,
        f"{kind.operator} has no implementation: {reason}",
        node=operation.nodes[0] if operation.nodes else "",
        source=operation.source,
        hint="run 'edgecomp check' for the whole model against all targets",
    )
