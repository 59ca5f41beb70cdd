"""A layer as one readable line: what decides which kernel is fastest, and nothing else.

Names, weights and zero points are not part of it, so that a layer measured in one model is known
in every other:

    convolution float32[1,64,56,56]+1.1.1.1 w=64x64x3x3 stride=1x1 pad=1.1.1.1 -> float32[1,64,56,56] relu

Halos are part of it: they decide which dimensions of an image run into each other.
"""

from edgecomp.plan.finish import Accumulate, Activation, Requantize, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import (
    BatchMatrixMultiply,
    Convolution,
    IntegerBatchMultiply,
    MatrixMultiply,
)
from edgecomp.plan.values import Order, Value, View
from edgecomp.schedules.cpu.int4_code import holds
from edgecomp.schedules.cpu.log2_code import are_powers


def signature(operation: Operation) -> str:
    """The line of an operation, "" for kinds that have no choice to measure."""
    kind = operation.kind
    if isinstance(kind, Convolution):
        words = ["convolution", *_dense_words(operation)]
        words.insert(3, f"stride={_by(kind.strides)}")
        words.insert(4, f"pad={'.'.join(map(str, kind.pads))}")
        if kind.dilations != (1, 1):
            words.insert(5, f"dilation={_by(kind.dilations)}")
        if kind.groups != 1:
            words.insert(5, f"groups={kind.groups}")
        return " ".join([*words, *_epilogue_words(kind, operation)])
    if isinstance(kind, MatrixMultiply):
        words = ["matrix_multiply", *_dense_words(operation)]
        return " ".join([*words, *_epilogue_words(kind, operation)])
    if isinstance(kind, BatchMatrixMultiply):
        a, b = operation.inputs
        words = [
            "batch_matrix_multiply",
            _operand(a, kind.a) + (" transposed" if kind.transpose_a else ""),
            _operand(b, kind.b) + (" transposed" if kind.transpose_b else ""),
            "->",
            _operand(operation.output, kind.output),
        ]
        return " ".join([*words, *(["scaled"] if kind.alpha != 1.0 else [])])
    if isinstance(kind, IntegerBatchMultiply):
        a, b = operation.inputs[:2]
        result = _operand(operation.output, kind.output)
        return " ".join(
            ["integer_batch_multiply", _operand(a, kind.a), _operand(b, kind.b), "->", result]
            + [step.operator for step in kind.steps]
        )
    return ""


def _dense_words(operation: Operation) -> list[str]:
    """x, weight, arrow, output."""
    x, weight = operation.inputs[:2]
    shape = _by(weight.shape)
    # 8-bit products without a dot instruction add pairs in 16 bits unless a weight is -128.
    if weight.constant is not None and weight.dtype == "int8" and weight.constant.size:
        shape += "" if int(weight.constant.min()) > -128 else ":full"
    elif weight.dtype not in ("float32", "int8"):
        powers = weight.constant is not None and are_powers(weight.constant)
        shape += ":log2" if powers else f":{weight.dtype}"
    assert isinstance(operation.kind, (Convolution, MatrixMultiply))
    if operation.kind.weight_bits == 4:
        groups = weight.constant is not None and not holds(weight.constant)
        shape += ":int4:groups" if groups else ":int4"
    return [_value(x), f"w={shape}", "->", _value(operation.output)]


def _epilogue_words(kind: Convolution | MatrixMultiply, operation: Operation) -> list[str]:
    words = []
    if isinstance(kind.finish, Requantize):
        words.append("requantize")
    elif isinstance(kind.finish, Scale):
        words.append("scale")
    elif kind.finish is not None:
        words.append("accumulate" if isinstance(kind.finish, Accumulate) else "runtime_scale")
    if kind.activation is not None:
        words.append(_activation(kind.activation))
    if kind.residual:
        words.append(f"residual={_value(operation.inputs[-1])}")
    return words


def _activation(activation: Activation) -> str:
    return activation.name


def _value(value: Value) -> str:
    """``float32[1,64,56,56]``, with ``+top.left.bottom.right`` where there is a halo."""
    text = f"{value.dtype}[{','.join(map(str, value.shape))}]"
    halo = value.halo
    if value.order is Order.NHWC and halo:
        text += f"+{halo.top}.{halo.left}.{halo.bottom}.{halo.right}"
    return text


def _operand(value: Value, view: View | None) -> str:
    """The value, or the view of it: ``float32[12,128,32]@32.384.1``, with its strides."""
    if view is None:
        return _value(value)
    sizes, steps = ",".join(map(str, view.shape)), ".".join(map(str, view.strides))
    return f"{value.dtype}[{sizes}]@{steps}"


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
