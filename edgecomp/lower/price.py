"""What a model costs on a target, operation by operation, without compiling it."""

from collections.abc import Collection, Mapping

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.program import laid_out_program, processor_program
from edgecomp.lower.select import gpu_schedule_names
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.prices import ConversionPrice, Price
from edgecomp.plan.products import Convolution, MatrixMultiply, PackedMatrixMultiply
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.values import Order, Quantization, Value
from edgecomp.schedules.cost import (
    Table,
    hertz,
    operation_cost,
    streamed_part,
)
from edgecomp.schedules.cpu.arithmetic_s4 import INT4_BITS
from edgecomp.schedules.cpu.log2_code import are_powers
from edgecomp.schedules.cpu.product_costs import packed_bytes
from edgecomp.schedules.cpu.rates import traffic_cycles


def price_model(
    model: ir.Model,
    target: Target,
    *,
    table: Table | None = None,
    without: Collection[str] = (),
) -> list[Price]:
    """Price of every operation of a model whose shapes are static.

    Args:
        model: float or QDQ; not changed.
        target: device.
        table: measured times.
        without: names of schedules that are not used.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, DIMENSION_FREE.
    """
    return price_weights(model, target, table=table, without=without)[0]


def price_weights(
    model: ir.Model,
    target: Target,
    *,
    table: Table | None = None,
    without: Collection[str] = (),
) -> tuple[list[Price], int]:
    """As ``price_model``; and bytes of the model's constants, in the types that kernels read."""
    program = processor_program(laid_out_program(model, target), target)
    return price_program(program, target, table, without)


def price_program(
    program: Program,
    target: Target,
    table: Table | None = None,
    without: Collection[str] = (),
) -> tuple[list[Price], int]:
    """The same of a program in its layout: a price for each operation, in order."""
    own = {*without, *gpu_schedule_names()}
    weight_bytes = _weight_bytes(program, target)
    streamed = streamed_part(weight_bytes, target)
    prices = []
    for operation in program.operations:
        modelled = operation_cost(operation, target, without=without, streamed=streamed)
        known = table.fastest(operation, target, own) if table else None
        measured = None if known is None else known.time_ns * 1e-9
        prices.append(Price(operation.nodes, modelled, measured))
    return prices, weight_bytes


def price_conversions(
    shapes: Mapping[str, tuple[int, ...]], inputs: Collection[str], target: Target
) -> dict[str, ConversionPrice]:
    """Price of storing each value in 8 bits where its producer does not.

    Args:
        shapes: value name -> shape.
        inputs: those that the user gives, in rows.
        target: device.
    """
    return {
        name: _conversion(shape, target, row_major=name in inputs)
        for name, shape in shapes.items()
    }


def _conversion(shape: tuple[int, ...], target: Target, *, row_major: bool) -> ConversionPrice:
    order = Order.NHWC if len(shape) == len("NHWC") else Order.ROW_MAJOR
    real = Value("real", shape, "float32", Order.ROW_MAJOR if row_major else order)
    stored = Value(
        "stored", shape, target.activation_dtype, order, quantization=Quantization(1.0, 0)
    )
    quantize = operation_cost(Operation(Quantize(), [real], [stored]), target)
    dequantize = operation_cost(Operation(Dequantize(), [stored], [real]), target)
    wider = traffic_cycles(0, real.bytes - stored.bytes, target) / hertz(target)
    return ConversionPrice(quantize, dequantize, wider)


def _weight_bytes(program: Program, target: Target) -> int:
    constants = {
        value: value.constant.nbytes
        for operation in program.operations
        for value in operation.inputs
        if value.constant is not None
    }
    for operation in program.operations:
        if isinstance(operation.kind, PackedMatrixMultiply):
            numbers = operation.inputs[1]  # one to a byte until they are packed
            constants[numbers] = -(-numbers.elements * operation.kind.bits // 8)
        elif isinstance(operation.kind, (Convolution, MatrixMultiply)):
            weights = operation.inputs[1]
            if weights.dtype == "int32":  # words of signs, every other one is 0 and goes
                constants[weights] = 2 * weights.elements
                continue
            powers = weights.constant is not None and are_powers(weights.constant)
            if powers:
                constants[weights] = -(-weights.elements // 2)
            elif operation.kind.weight_bits == INT4_BITS:
                constants[weights] = packed_bytes(operation, target)
    return sum(constants.values())
