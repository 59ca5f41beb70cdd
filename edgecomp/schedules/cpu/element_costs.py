"""Modelled cycles of operations that are bound by elements or bytes.

A few vector instructions per vector of elements, and the bytes that go through the caches.
"""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.movement import FillHalo, Resize, StridedCopy
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import SIGN_BITS, Dequantize
from edgecomp.plan.reductions import TopK
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.rates import bound, rates_of, table_instructions, traffic_cycles

#: Vector instructions of a step of an elementwise chain on float32; the others take 1.
STEP_INSTRUCTIONS = {
    "Acos": 200, "Acosh": 200, "Asin": 200, "Asinh": 200, "Atan": 200, "Atanh": 200,
    "Celu": 14, "Clip": 2, "Cos": 48, "Cosh": 200, "Div": 8, "Elu": 14, "Erf": 28, "Exp": 15,
    "Gelu": 30, "HardSigmoid": 4, "HardSwish": 5, "LeakyRelu": 2, "Log": 22, "Mish": 46,
    "Mod": 14, "PRelu": 3, "Pow": 40, "Reciprocal": 8, "Selu": 14, "Shrink": 5,
    "Sigmoid": 21, "Sin": 48, "Sinh": 200, "Softplus": 40, "Softsign": 9, "Sqrt": 8,
    "Swish": 22, "Tan": 200, "Tanh": 24, "Where": 2,
}  # fmt: skip
#: The same per 16 elements of 8 bits.
_QUANTIZE = 18.0
_DEQUANTIZE = 6.0
#: Per vector of 32-bit elements.
_SOFTMAX = 29.0
_LAYER_NORM = 18.0
_REDUCE = 3.0
_QUANTIZED_BINARY = 14.0
_PACK_SIGNS = 4.0
#: Of a word of signs: bits of the lanes of a vector become one number.
_UNITE_SIGNS = 7.0
#: Cycles per element of a copy whose sides run along different dimensions.
_TRANSPOSED_COPY_CYCLES = 0.25
#: A halo is short runs: times the traffic of one run.
_FILL = 1.7
#: Cycles per element of a kernel that nothing is known of.
_SCALAR_CYCLES = 4.0


def elementwise_cycles(operation: Operation, target: Target) -> float:
    """The steps' instructions on each vector of the result."""
    kind = operation.kind
    assert isinstance(kind, Elementwise)
    lanes = target.lanes(32)
    loads = sum(value.constant is None or value.elements > 1 for value in operation.inputs)
    share = rates_of(target).function_instructions
    instructions = loads + 1 + share * sum(_step(step) for step in kind.steps)
    vectors = operation.output.elements / lanes
    return _bound(operation, vectors * instructions, target)


def quantize_cycles(operation: Operation, target: Target) -> float:
    """Float32 to 8 bits, or back, 16 elements at a time on 128 bits as well as on 512."""
    per_sixteen = _DEQUANTIZE if isinstance(operation.kind, Dequantize) else _QUANTIZE
    vectors = operation.output.elements / 16 * (16 / min(16, target.lanes(32)))
    return _moved(operation, vectors * per_sixteen, target)


def dynamic_quantize_cycles(operation: Operation, target: Target) -> float:
    """The range of all values first, then as ``quantize_cycles``."""
    x = operation.inputs[0]
    extremes = bound(2.0 * x.elements / target.lanes(32), x.bytes, 0, target)
    stored = dataclasses.replace(operation, outputs=operation.outputs[:1])
    return extremes + quantize_cycles(stored, target)


def pack_signs_cycles(operation: Operation, target: Target) -> float:
    """Compare, pick the bits of the lanes and unite them, then those of a word."""
    x = operation.inputs[0]
    vectors = x.elements / target.lanes(32)
    words = x.elements / SIGN_BITS
    return _bound(operation, _PACK_SIGNS * vectors + _UNITE_SIGNS * words, target)


def table_cycles(operation: Operation, target: Target) -> float:
    """A table of 256 entries for each byte."""
    instructions = operation.output.elements / 16 * table_instructions(target)
    return _moved(operation, instructions, target)


def quantized_binary_cycles(operation: Operation, target: Target) -> float:
    """Widen both operands, compute, requantize."""
    vectors = operation.output.elements / target.lanes(32)
    return _bound(operation, _QUANTIZED_BINARY * vectors, target)


def softmax_cycles(operation: Operation, target: Target) -> float:
    """Maximum, exponentials and their sum, the product, and 8 bits of it where they are wanted."""
    output = operation.outputs[0]
    elements = output.elements
    instructions = _SOFTMAX * elements / target.lanes(32)
    if output.dtype != "float32":
        instructions += _QUANTIZE * elements / 16
    return _bound(operation, instructions, target)


def layer_norm_cycles(operation: Operation, target: Target) -> float:
    """Mean, variance, the normalisation, and 8 bits of it where they are wanted."""
    elements = operation.inputs[0].elements
    instructions = _LAYER_NORM * elements / target.lanes(32)
    if any(value.dtype != "float32" for value in operation.outputs):
        instructions += _QUANTIZE * elements / 16
        # A load and a product for each row of factors.
        instructions += 2 * len(operation.inputs[3:]) * elements / target.lanes(32)
    return _bound(operation, instructions, target)


def reduce_cycles(operation: Operation, target: Target) -> float:
    """Every input element once."""
    x = operation.inputs[0]
    per_vector = _REDUCE * (4 if x.dtype != "float32" else 1)
    lanes = target.lanes(8 * np.dtype(x.dtype).itemsize)
    instructions = per_vector * x.elements / lanes
    return _bound(operation, instructions, target)


def resize_cycles(operation: Operation, target: Target) -> float:
    """A copy, or four products and three sums per element."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Resize)
    lanes = target.lanes(8 * np.dtype(output.dtype).itemsize)
    instructions = (2 if kind.nearest else 20) * output.elements / lanes
    return _bound(operation, instructions, target)


def copy_cycles(operation: Operation, target: Target) -> float:
    """Runs of bytes, transposed tiles, or elements one by one."""
    kind = operation.kind
    assert isinstance(kind, StridedCopy)
    elements = math.prod(kind.shape)
    item = np.dtype(operation.output.dtype).itemsize
    instructions = 2.0 * elements / target.lanes(8 * item)
    bytes_ = elements * item
    if kind.lookup is not None:
        instructions += elements / 16 * table_instructions(target)
    cycles = bound(instructions, bytes_, bytes_, target)
    if not _same_run(operation.inputs[0], operation.output):
        cycles += elements * _TRANSPOSED_COPY_CYCLES
    return cycles


def store_part_cycles(operation: Operation, target: Target) -> float:
    """A copy of the part."""
    part = operation.inputs[0].bytes
    return traffic_cycles(part, part, target)


def gather_cycles(operation: Operation, target: Target) -> float:
    """A copy of what is taken."""
    return traffic_cycles(operation.output.bytes, operation.output.bytes, target)


def top_k_cycles(operation: Operation, target: Target) -> float:
    """Every result is looked for in its whole row, one element after the other."""
    kind, x, values = operation.kind, operation.inputs[0], operation.outputs[0]
    assert isinstance(kind, TopK)
    looked_at = values.elements * x.shape[kind.axis]
    return _SCALAR_CYCLES * looked_at + traffic_cycles(x.bytes, values.bytes, target)


def fill_cycles(operation: Operation, target: Target) -> float:
    """The bytes that are written: the halo alone where it is that."""
    output = operation.output
    written = output.bytes
    if isinstance(operation.kind, FillHalo):
        written -= output.elements * np.dtype(output.dtype).itemsize
    return _FILL * traffic_cycles(0, written, target)


def fallback_cycles(operation: Operation, target: Target) -> float:
    """A scalar loop over inputs and outputs: what they compute is not known."""
    elements = sum(v.elements for v in (*operation.inputs, *operation.outputs))
    read, written = (
        sum(v.bytes for v in side) for side in (operation.inputs, operation.outputs)
    )
    return _SCALAR_CYCLES * elements + traffic_cycles(read, written, target)


def _step(step: Step) -> float:
    return STEP_INSTRUCTIONS.get(step.operator, 1)


def _same_run(x: Value, y: Value) -> bool:
    """Whether the innermost dimensions in memory are the same one."""

    def inner(value: Value) -> int:
        sized = [(s, d) for d, s in enumerate(value.view.strides) if value.shape[d] > 1]
        return min(sized)[1] if sized else -1

    if len(x.shape) != len(y.shape):
        return True
    first, second = inner(x), inner(y)
    return first == second or -1 in (first, second)


def _moved(operation: Operation, instructions: float, target: Target) -> float:
    cycles = _bound(operation, instructions, target)
    if not _same_run(operation.inputs[0], operation.output):
        cycles += operation.output.elements * _TRANSPOSED_COPY_CYCLES
    return cycles


def _bound(operation: Operation, instructions: float, target: Target) -> float:
    values = [v for v in operation.inputs if v.constant is None or v.elements > 1]
    written = sum(value.bytes for value in operation.outputs)
    return bound(instructions, sum(v.bytes for v in values), written, target)
