"""What convolution and matrix product share: inputs to check, arithmetic and epilogue to pick."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.finish import RuntimeScale, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.sizes import Dimension, Size, largest
from edgecomp.plan.values import Array, Order, Value
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.arithmetic_coded import coded_f32
from edgecomp.schedules.cpu.arithmetic_f32 import dense_f32
from edgecomp.schedules.cpu.arithmetic_s4 import INT4_BITS, arithmetic_s4
from edgecomp.schedules.cpu.arithmetic_s8_arm import arithmetic_s8_arm
from edgecomp.schedules.cpu.arithmetic_s8_x86 import arithmetic_s8_x86
from edgecomp.schedules.cpu.arithmetic_s16 import arithmetic_s16
from edgecomp.schedules.cpu.arithmetic_signs import arithmetic_signs
from edgecomp.schedules.cpu.epilogue import (
    Epilogue,
    float_epilogue,
    integer_epilogue,
    refuse_epilogue,
)
from edgecomp.schedules.cpu.implicit_gemm import emit_product, gemm_shape
from edgecomp.schedules.cpu.int4_code import scaled
from edgecomp.schedules.cpu.product import Product
from edgecomp.schedules.cpu.tile_candidates import tile_candidates, tile_params, tile_text
from edgecomp.schedules.cpu.weight_codes import WeightCode, weight_code, weight_code_of
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall, Progress

Dense = Convolution | MatrixMultiply
ProgressOf = Callable[[tuple[tuple[int, int], ...]], Progress | None]


def refuse_dense(kind: Dense, operation: Operation, target: Target) -> str:
    """Return "" when dtypes and epilogue are supported, else why not."""
    x, weight, bias = operation.inputs[:3]
    if bias.constant is None:
        return "bias is not constant"
    x_dtype = "int16" if x.dtype == "int16" else target.activation_dtype
    wanted = (x_dtype, "int8", "int32")
    if x.dtype == "int32":  # words of signs
        wanted = ("int32",) * 3
        if not isinstance(kind.finish, Scale):
            return "signs without a scale"
    if kind.finish is None:
        coded = weight_code(weight.dtype) is not None
        wanted = ("float32", weight.dtype if coded else "float32", "float32")
        if kind.weight_scale is not None and not coded:
            return "scales of weights that are float32"
    found = (x.dtype, weight.dtype, bias.dtype)
    if found != wanted:
        return f"dtypes of x, weight and bias are {found}, not {wanted}"
    if x.dtype == "int16" and isinstance(kind.finish, RuntimeScale):
        return "16-bit activations whose scale is known at run time"
    return refuse_epilogue(
        kind.finish,
        kind.activation,
        kind.integer_add,
        operation.output,
        residual_of(operation),
    )


def emit_dense(
    name: str,
    kind: Dense,
    product: Product,
    operation: Operation,
    target: Target,
    weight: Array,
    progress: ProgressOf | None = None,
    params: str = "",
    row_count: Size | None = None,
    image: Product | None = None,
) -> KernelCall:
    """Emit the kernel of a claimed operation.

    Args:
        name: of the kind.
        kind: of the operation.
        product: addresses.
        operation: gives x, bias, residual and output.
        target: the device.
        weight: [output channels, K], K in the order of ``product.depth``.
        progress: of the call, given its ``row_ends``.
        params: text of the tiles to use, "" for those of the cost model.
        row_count: rows of a run, where they differ; the product then has the most.
        image: addresses where they differ as well.

    Raises:
        ParamsError: the tiles do not fit.
    """
    x, bias, residual = (
        operation.inputs[0],
        operation.inputs[2].constant,
        residual_of(operation),
    )
    assert bias is not None
    arithmetic = _arithmetic(kind, target, weight, bias, x.dtype)
    if arithmetic.shift:
        assert kind.finish is not None
        small = scaled(weight, bias, kind.finish)
        assert small is not None
        bias, kind = small.bias, dataclasses.replace(kind, finish=small.finish)
    shape = gemm_shape(product, arithmetic, operation.output.dtype)
    code = weight_code_of(weight)
    multiplier = None
    if code is not None:
        multiplier = _weight_multiplier(kind, code)
        weight = code.bits(weight)
    if multiplier is not None:
        bias = bias / multiplier  # accumulators start from it
    gemm = emit_product(
        f"{name}_{x.dtype}",
        product,
        arithmetic,
        epilogue_of(kind, operation.output, residual, multiplier),
        target,
        weight,
        bias,
        tile_params(params, shape, arithmetic, target) if params else None,
        row_count,
        image,
    )
    label = operation.inputs[1].name
    arguments: list[Value | Constant] = [
        x,
        Constant(f"{label}.packed", gemm.weights),
        Constant(f"{label}.bias", gemm.bias),
    ]
    if gemm.multiplier is not None:
        arguments.append(Constant(f"{label}.multiplier", gemm.multiplier))
    if gemm.sums is not None and gemm.offset is not None:
        arguments.append(Constant(f"{label}.sums", gemm.sums))
        arguments.append(Constant(f"{label}.offset", gemm.offset))
        arguments += operation.inputs[3:5]
    if residual is not None:
        arguments.append(residual)
    arguments.append(operation.output)
    return KernelCall(
        kernel=gemm.kernel,
        arguments=tuple(arguments),
        work_items=largest(gemm.items),
        multiply_adds=product.multiply_adds,
        progress=progress(gemm.row_ends) if progress else None,
        dynamic=(
            dynamic_rows(gemm.items, gemm.sizes, gemm.tile_rows, arguments)
            if row_count is not None
            else None
        ),
    )


def dynamic_rows(
    items: Dimension,
    sizes: tuple[Size, ...],
    tile_rows: int,
    arguments: Sequence[Value | Constant],
) -> Dynamic:
    """Of a product whose rows differ from run to run.

    Args:
        items: work items of a run.
        sizes: that the kernel reads.
        tile_rows: rows that the last tile may go on behind the last one.
        arguments: of the call.
    """
    overruns = tuple(
        0
        if isinstance(argument, Constant)
        else tile_rows * _row_elements(argument) * np.dtype(argument.dtype).itemsize
        for argument in arguments
    )
    return Dynamic(items, sizes=sizes, overrun_bytes=overruns)


def _row_elements(value: Value) -> int:
    """Elements of a row: the last dimension, or the channels of a pixel."""
    return int(value.view.strides[3] if value.order is Order.NHWC else value.shape[-1])


def dense_candidates(
    kind: Dense, product: Product, operation: Operation, target: Target, weight: Array
) -> list[str]:
    """Texts of tiles worth measuring, the cost model's own first."""
    bias = operation.inputs[2].constant
    assert bias is not None
    arithmetic = _arithmetic(kind, target, weight, bias, operation.inputs[0].dtype)
    shape = gemm_shape(product, arithmetic, operation.output.dtype)
    return [tile_text(params) for params in tile_candidates(shape, arithmetic, target)]


def residual_of(operation: Operation) -> Value | None:
    """What is added to the product, None for nothing."""
    kind = operation.kind
    assert isinstance(kind, Dense)
    return operation.inputs[-1] if kind.residual else None


def _arithmetic(
    kind: Dense, target: Target, weight: Array, bias: Array, x_dtype: str
) -> Arithmetic:
    if kind.finish is None:
        code = weight_code_of(weight)
        columns = len(weight) // (kind.groups if isinstance(kind, Convolution) else 1)
        return dense_f32(target, columns) if code is None else coded_f32(target, code)
    if x_dtype == "int16":
        return arithmetic_s16(target)
    if x_dtype == "int32":
        return arithmetic_signs(target)
    if kind.weight_bits == INT4_BITS:
        small = arithmetic_s4(target, weight, bias, kind.finish)
        if small is not None:
            return small
    if target.core.isa == "x86_64":
        return arithmetic_s8_x86(target)
    return arithmetic_s8_arm(target, weight)


def _weight_multiplier(kind: Dense, code: WeightCode) -> Array | None:
    """What sums of widened weights are scaled by; None for nothing."""
    if kind.weight_scale is None and code.factor == 1:
        return None
    scale = np.float32(1) if kind.weight_scale is None else kind.weight_scale
    return np.atleast_1d(scale * np.float32(code.factor))


def epilogue_of(
    kind: Dense, output: Value, residual: Value | None, multiplier: Array | None = None
) -> Epilogue:
    """What becomes of the sums, which a multiplier scales first."""
    if kind.finish is None:
        return float_epilogue(kind.activation, residual, multiplier)
    return integer_epilogue(kind.finish, kind.activation, kind.integer_add, output, residual)
