"""Between float32 and 8 bits, and sums and products of values of 8 bits."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import QuantizedAdd, QuantizedMultiply
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant
from edgecomp.schedules.cpu import quantize, quantized_binary
from edgecomp.schedules.cpu.iteration import space_of_views
from edgecomp.schedules.cpu.quotient import by_power_of_two, is_exact, refinement
from edgecomp.schedules.cpu.rounding import is_power_of_two
from edgecomp.schedules.cpu.vectors import lanes_of, typed
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.maps import emit_map
from edgecomp.schedules.gpu.places import flat_target, gpu_of
from edgecomp.schedules.gpu.thresholds import quantized, thresholds_of
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "quantize"


def match(operation: Operation, target: Target) -> str:
    """Claim what the CPU's schedules of the same kinds claim."""
    kind = operation.kind
    if isinstance(kind, Quantize | Dequantize):
        return quantize.match(operation, target)
    if isinstance(kind, QuantizedAdd | QuantizedMultiply):
        return quantized_binary.match(operation, target)
    return "not an operation of quantized values"


def _divides(target: Target) -> bool:
    """Whether the device's division rounds once: CUDA's does (nvcc's -prec-div)."""
    return gpu_of(target).api == "cuda"


def _compares(operation: Operation, target: Target) -> bool:
    """Whether results are found by thresholds.

    Metal and WGSL promise neither exact quotients nor fused sums, or not by themselves. OpenCL
    promises fused sums: two of them are a division by most scales, and its own is not exact.
    """
    api = gpu_of(target).api
    return api in ("metal", "webgpu") or (api == "opencl" and not _is_product(operation))


def _is_product(operation: Operation) -> bool:
    """Whether products give what a division by the scale does."""
    output = operation.output
    assert output.quantization is not None
    limits, point = np.iinfo(output.dtype), output.quantization.zero_point
    scale = output.quantization.scale
    return is_power_of_two(scale) or is_exact(
        scale, int(limits.min) - point, int(limits.max) - point
    )


def quotient(
    builder: GridBuilder, target: Target, x: Expr, scale: float, _low: int, _high: int
) -> Expr:
    """``quotient.divide`` by a fused multiply-add, which rounds once on every device."""
    if _divides(target):
        return x / constant(float(np.float32(scale)), "float32", lanes_of(x))

    def fused(a: Expr, b: Expr, c: Expr) -> Expr:
        return tirx.call_pure_extern(typed("float32", lanes_of(a)), "fma", a, b, c)

    if is_power_of_two(scale):
        return by_power_of_two(x, scale)
    return fused(*refinement(builder, x, scale, fused))


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind, output = operation.kind, operation.output
    if not output.elements:
        return []

    tables = []
    if isinstance(kind, Quantize) and _compares(operation, target):
        tables.append(Constant("thresholds", thresholds_of(operation)))

    def body(builder: GridBuilder, vectors: list[Expr], _lanes: int) -> Expr:
        if tables:
            return quantized(builder, operation, builder.tables[0], vectors[0])
        if isinstance(kind, QuantizedAdd | QuantizedMultiply):
            left, right = vectors
            return quantized_binary.result_of(builder, operation, left, right)
        return quantize.conversion(builder, operation, flat_target(target), quotient)(
            vectors[0]
        )

    views = [value.view.broadcast_to(output.shape) for value in operation.inputs]
    call = emit_map(
        NAME,
        space_of_views([output.view, *views]),
        (output.stored, output.view.elements),
        [(value.stored, value.view.elements) for value in operation.inputs],
        target,
        body,
        arguments=(*operation.inputs, *tables, output),
        tables=[("float32", table.array.size) for table in tables],
    )
    return [call]
