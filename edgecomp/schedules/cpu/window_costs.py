"""Modelled cycles of kernels that keep channels apart: depthwise convolutions and pools."""

import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.reductions import Pool
from edgecomp.schedules.cpu import depthwise, depthwise_f32, depthwise_int8, grouped_f32
from edgecomp.schedules.cpu.depthwise_dot import plan_rows, products_of
from edgecomp.schedules.cpu.product_costs import ACTIVATION_INSTRUCTIONS
from edgecomp.schedules.cpu.rates import bound, rates_of
from edgecomp.schedules.cpu.windows import Walk

#: Instructions of the integer epilogue per vector of sums: convert, scale, round, narrow, store.
_INTEGER_FINISH = 4
#: Instructions that end a float vector: activation, store.
_FLOAT_FINISH = 3


def depthwise_f32_cycles(operation: Operation, target: Target) -> float:
    """Each tap multiplies once; an input vector is loaded once per kernel row and tile."""
    return _float_cycles(operation, target, depthwise_f32.params_for(target, operation))


def grouped_f32_cycles(operation: Operation, target: Target) -> float:
    """The same as often as a group has channels; its elements change places then."""
    return _float_cycles(operation, target, grouped_f32.params_for(target, operation))


def _float_cycles(operation: Operation, target: Target, walk: Walk) -> float:
    kind, output, size = operation.kind, operation.output, operation.inputs[1].shape[1]
    assert isinstance(kind, Convolution)
    window = depthwise.window_of(operation)
    rows, taps = window.size
    loads = rows * window.span(walk.columns) / walk.columns
    instructions = size * (rows * taps + loads) + _FLOAT_FINISH
    if kind.activation is not None:
        instructions += ACTIVATION_INSTRUCTIONS.get(kind.activation.name, 1)
    instructions += len(operation.inputs) - 3
    vectors = _positions(operation) * -(-output.shape[1] // walk.lanes)
    return _bound(operation, vectors * instructions, target)


def depthwise_s16_cycles(operation: Operation, target: Target) -> float:
    """As float32: a product and a sum for each tap, one widening more for each load."""
    window, output = depthwise.window_of(operation), operation.output
    walk = depthwise_f32.params_for(target, operation, loops=False)
    rows, taps = window.size
    fuses = target.core.isa != "x86_64" or target.has("avx512vnni")
    loads = 2 * rows * window.span(walk.columns) / walk.columns
    instructions = (1 if fuses else 2) * rows * taps + loads + _INTEGER_FINISH
    vectors = _positions(operation) * -(-output.shape[1] // walk.lanes)
    return _bound(operation, vectors * instructions, target)


def depthwise_int8_cycles(operation: Operation, target: Target) -> float:
    """The instructions that the schedule's own choice of tile counts."""
    window, products = depthwise.window_of(operation), products_of(target)
    params = depthwise_int8.params_for(target, operation)
    columns, height = params.walk.columns, params.height
    plan = plan_rows(window, height, products.group)
    shared = len(window.users(columns)) * len(plan.groups) * products.interleave_cost
    own = len(plan.uses) * window.size[1] * products.use_cost
    instructions = (shared / columns + own) / height
    sums = products.sums(products.lanes)
    instructions += (_INTEGER_FINISH + 6 * (len(operation.inputs) - 3)) * sums
    whole, rest = divmod(operation.output.shape[1], products.lanes)
    # A vector that is not full takes longer than its part of a full one (fitted).
    part = (1 + rest / products.lanes) / 2 if rest else 0.0
    vectors = _positions(operation) * (whole + part)
    instructions *= vectors * rates_of(target).integer_depthwise
    return _bound(operation, instructions, target)


def pool_cycles(operation: Operation, target: Target) -> float:
    """Down the rows of each input column once, then across the columns."""
    kind, x, output = operation.kind, operation.inputs[0], operation.output
    assert isinstance(kind, Pool)
    bits = 32 if x.dtype == "float32" else 8
    lanes = target.lanes(bits)
    rows, columns = kind.window
    instructions = 3.5 * rows * min(columns, kind.strides[1]) + columns + 2
    if not kind.maximum:
        # Bytes are widened before they are added, and requantized.
        instructions = instructions * (2 if bits == 8 else 1) + (20 if bits == 8 else 2)
    vectors = _positions(operation) * -(-output.shape[1] // lanes)
    return _bound(operation, vectors * instructions, target)


def _positions(operation: Operation) -> int:
    batch, _, height, width = operation.output.shape
    return math.prod((batch, height, width))


def _bound(operation: Operation, instructions: float, target: Target) -> float:
    read = sum(v.bytes for v in operation.inputs if v.constant is None)
    return bound(instructions, read, operation.output.bytes, target)
