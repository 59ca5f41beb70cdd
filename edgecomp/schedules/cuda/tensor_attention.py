"""Attention as one kernel on tensor cores: of 8-bit integers, of floats of 16 bits, and in tf32.

tf32 where values are float32 and the build allows it.
"""

from edgecomp.device.target import Target
from edgecomp.plan.attention import Attention, IntegerAttention
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.product_steps import ProductSteps
from edgecomp.schedules.cuda.tensor_attention_cut import cut_of
from edgecomp.schedules.cuda.tensor_attention_kernel import TensorAttentionKernel
from edgecomp.schedules.cuda.tensor_integer_attention_kernel import (
    TensorIntegerAttentionKernel,
)
from edgecomp.schedules.cuda.tensor_product import refuse_type
from edgecomp.schedules.gpu.elementwise import refuse_steps
from edgecomp.schedules.schedule import KernelCall

NAME = "tensor_attention"

#: Of floats: fewer rows, or elements of K, leave most of an instruction unused.
_LEAST_ROWS, _LEAST_DEPTH = 8, 8
_BYTES = frozenset({"uint8", "int8"})
_LARGEST_SUM = 2**31 - 1


def match(operation: Operation, target: Target) -> str:
    """Claim what lies in order, in types that an instruction has, and is not too wide."""
    kind = operation.kind
    if not isinstance(kind, Attention | IntegerAttention):
        return "not an attention"
    if any(view.strides[-1] != 1 for view in (kind.q, kind.k, kind.v, kind.y)):
        return "elements of K or of columns are not side by side"
    reason = _refuse_types(operation.inputs[:3], target)
    if not reason and isinstance(kind, IntegerAttention):
        reason = _refuse_integers(operation, kind)
    if reason:
        return reason
    rows, depth = kind.q.shape[-2:]
    is_float = isinstance(kind, Attention)  # which another kernel takes as well
    if is_float and (largest(rows) < _LEAST_ROWS or depth < _LEAST_DEPTH):
        return f"only {rows} rows and {depth} elements of K"
    if cut_of(operation, target) is None:
        return f"heads of {depth} and {kind.v.shape[-1]} elements are more than registers hold"
    return ""


def _refuse_types(values: list[Value], target: Target) -> str:
    """Why no instruction has the types of q, k and v."""
    q, *others = (value.stored for value in values)
    wanted = _BYTES if q in _BYTES else {q}
    for other in others:
        reason = refuse_type(q, other, wanted, target)
        if reason:
            return reason
    return ""


def _refuse_integers(operation: Operation, kind: IntegerAttention) -> str:
    """What is different where values are quantized."""
    output, values = operation.output, operation.inputs[:3]
    if any(value.quantization is None for value in values):
        return "operands without a zero point"
    if output.dtype not in ("float32", *_BYTES):
        return f"results of dtype {output.dtype}"
    if output.dtype != "float32" and output.quantization is None:
        return "results without a scale"
    if kind.weights.zero_point:
        return "exponentials with a zero point"
    # Of weights that are at least 0 and of any others, as stored and as they are meant.
    longest = max(largest(kind.v.shape[-2]), kind.q.shape[-1])
    if longest * 255 * 255 > _LARGEST_SUM:
        return f"a sum of {longest} products could overflow int32"
    scores = (*kind.q.shape[:-1], kind.k.shape[-2])
    steps = ProductSteps(kind.steps, operation.inputs[3:], scores)
    return steps.refusal() or refuse_steps(kind.steps)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind = operation.kind
    assert isinstance(kind, Attention | IntegerAttention)
    is_integer = isinstance(kind, IntegerAttention)
    make = TensorIntegerAttentionKernel if is_integer else TensorAttentionKernel
    kernel = make(operation, target)
    kernel.emit()
    depth = kind.q.shape[-1] + kind.v.shape[-1]
    rows = operation.output.elements // kind.v.shape[-1]
    work = largest(rows * kind.k.shape[-2] * depth)
    return [kernel.builder.call(NAME, (*kernel.inputs, operation.output), work)]
