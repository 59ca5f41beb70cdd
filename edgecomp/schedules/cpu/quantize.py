"""QuantizeLinear and DequantizeLinear between float32 and 8 or 16 bits, layout change included."""

from collections.abc import Callable

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.math import is_nan
from edgecomp.schedules.cpu.move import Convert, emit_move
from edgecomp.schedules.cpu.quotient import divide
from edgecomp.schedules.cpu.rounding import as_float, to_quantized
from edgecomp.schedules.cpu.vectors import lanes_of, named
from edgecomp.schedules.schedule import KernelCall

NAME = "quantize"
EIGHT_BITS = ("uint8", "int8")
STORED = (*EIGHT_BITS, "int16")
#: One register of bytes, several of float32: the narrowing then needs no half-filled vectors.
LANES = 16


def match(operation: Operation, target: Target) -> str:
    """float32 to 8 or 16 bits or back, one scale."""
    del target
    kind = operation.kind
    if isinstance(kind, Quantize):
        wide, narrow = operation.inputs[0], operation.output
    elif isinstance(kind, Dequantize):
        narrow, wide = operation.inputs[0], operation.output
    else:
        return "neither Quantize nor Dequantize"
    if wide.dtype != "float32" or narrow.dtype not in STORED:
        return f"{operation.inputs[0].dtype} to {operation.output.dtype}"
    if narrow.quantization is None:
        return "no scale"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    (source,) = operation.inputs
    output = operation.output
    if not output.elements:
        return []
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", source.dtype, source.view.elements)
    y = builder.pointer("y", output.dtype, output.view.elements)
    convert = conversion(builder, operation, target)
    space = space_of_views([output.view, source.view])
    items = emit_move(builder, target, space, y, x, LANES, convert)
    return [KernelCall(builder.finish(name_of(operation)), (source, output), items)]


def name_of(operation: Operation) -> str:
    """Of the kernel's kind."""
    return "quantize" if isinstance(operation.kind, Quantize) else "dequantize"


def narrowing(
    builder: KernelBuilder,
    output: Value,
    target: Target,
    quotient: Callable[..., Expr] = divide,
) -> Convert:
    """What a kernel makes of a vector of float results for an output of float32 or 8 bits."""
    if output.dtype == "float32":
        return _same
    real = Value("real", output.shape, "float32")
    return conversion(builder, Operation(Quantize(), [real], [output]), target, quotient)


def _same(value: Expr) -> Expr:
    return value


def conversion(
    builder: KernelBuilder,
    operation: Operation,
    target: Target,
    quotient: Callable[..., Expr] = divide,
) -> Convert:
    """What becomes of a vector of the input; ``quotient`` stands for ``quotient.divide``."""
    (source,), output = operation.inputs, operation.output

    def quantize(value: Expr) -> Expr:
        assert output.quantization is not None
        limits = np.iinfo(output.dtype)
        least, greatest = int(limits.min), int(limits.max)
        point = output.quantization.zero_point
        scaled = quotient(
            builder,
            target,
            value,
            output.quantization.scale,
            least - point,
            greatest - point,
        )
        scaled = named(builder, "scaled", scaled)
        zero = constant(0.0, "float32", lanes_of(scaled))
        number = tirx.Select(is_nan(scaled), zero, scaled)
        return to_quantized(builder, number, point, least, greatest, output.dtype)

    def dequantize(value: Expr) -> Expr:
        assert source.quantization is not None
        lanes = lanes_of(value)
        centred = as_float(value) - constant(
            float(source.quantization.zero_point), "float32", lanes
        )
        return centred * constant(source.quantization.scale, "float32", lanes)

    return quantize if isinstance(operation.kind, Quantize) else dequantize
