"""Normalisations write what a QuantizeLinear makes of them, on the processor.

y = LayerNorm(x)
q = Quantize(y)
->
y, q = LayerNorm(x)      and q alone where nothing else reads y

y = LayerNorm(x)
z = y * factors
q = Quantize(z)
->
y, q = LayerNorm(x, factors)

Factors for each channel stand there where the outliers of a normalisation were given to the weights of
the products that read it, while others read it as it is (SmoothQuant, as NNCF writes it). A softmax
along rows does where nothing else reads y.
"""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.lower.claims import is_claimed
from edgecomp.lower.uses import Uses, exchanged
from edgecomp.plan.attention import Softmax
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.quantization import Quantize
from edgecomp.plan.reductions import LayerNorm
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.cpu import softmax
from edgecomp.schedules.cpu.quantize import EIGHT_BITS


def fuse_quantize(program: Program, target: Target) -> Program:
    """The program with fewer operations.

    Args:
        program: without branches and loops, in its layout; stays as it is.
        target: device.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    for operation in program.operations:
        if not _is_normalisation(operation):
            continue
        y = operation.output
        chains = [
            c for o in uses.consumers(y) if (c := _chain(operation, o, uses)) is not None
        ]
        if y.order is not Order.ROW_MAJOR or y.alias_of is not None or not chains:
            continue
        chain = chains[0]
        alone = uses.only_consumer(y) is chain.operations[0]
        if not alone and isinstance(operation.kind, Softmax):
            continue
        stored = chain.operations[-1].output
        names = [name for each in (operation, *chain.operations) for name in each.nodes]
        fused = dataclasses.replace(
            operation,
            inputs=[*operation.inputs, *chain.factors],
            outputs=[stored] if alone else [y, stored],
            nodes=tuple(dict.fromkeys(names)),
        )
        if is_claimed(fused, target):
            made[operation] = fused
            gone.update(chain.operations)
    return exchanged(program, made, gone)


@dataclasses.dataclass(frozen=True)
class _Chain:
    """What makes 8 bits of a normalisation.

    Attributes:
        operations: the Quantize, perhaps behind a product with a constant.
        factors: that constant.
    """

    operations: tuple[Operation, ...]
    factors: tuple[Value, ...] = ()


def _chain(norm: Operation, reader: Operation, uses: Uses) -> _Chain | None:
    if is_narrow(reader):
        return _Chain((reader,))
    factors = _factors(norm, reader)
    after = None if factors is None else uses.only_consumer(reader.output)
    if factors is None or after is None or not is_narrow(after):
        return None
    return _Chain((reader, after), (factors,))


def _factors(norm: Operation, reader: Operation) -> Value | None:
    """What a reader multiplies each row of a layer normalisation by, where it does just that."""
    kind, y = reader.kind, norm.output
    if not (isinstance(kind, Elementwise) and isinstance(norm.kind, LayerNorm)):
        return None
    others = [value for value in reader.inputs if value is not y]
    if [step.operator for step in kind.steps] != ["Mul"] or len(others) != 1:
        return None
    (factors,) = others
    if factors.constant is None or factors.dtype != "float32" or y.dtype != "float32":
        return None
    result = reader.output
    if result.order is not Order.ROW_MAJOR or result.alias_of is not None:
        return None
    inner = y.shape[norm.kind.axis % len(y.shape) :]
    leading = factors.shape[: max(0, len(factors.shape) - len(inner))]
    if math.prod(leading) != 1 or result.shape != y.shape:
        return None
    constant = factors.constant.reshape(factors.shape[len(leading) :])
    whole = np.ascontiguousarray(np.broadcast_to(constant, inner))
    return Value(factors.name, inner, "float32", constant=whole)


def _is_normalisation(operation: Operation) -> bool:
    """Whether a kernel may write 8 bits of its results."""
    kind = operation.kind
    if isinstance(kind, Softmax):
        return not kind.logarithm and softmax.is_along_rows(operation)
    return isinstance(kind, LayerNorm) and len(operation.outputs) == 1


def is_narrow(reader: Operation) -> bool:
    """Whether an operation makes 8 bits of what it reads, in the same order."""
    if not isinstance(reader.kind, Quantize):
        return False
    output = reader.output
    in_place = output.order is Order.ROW_MAJOR and output.alias_of is None
    return in_place and output.part_of is None and output.dtype in EIGHT_BITS
