"""Normalisations write what a QuantizeLinear makes of them, on the processor.

y = LayerNorm(x)
q = Quantize(y)
->
y, q = LayerNorm(x)      and q alone where nothing else reads y

A softmax along rows does where nothing else reads y.
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.lower.claims import is_claimed
from edgecomp.lower.uses import Uses, exchanged
from edgecomp.plan.operations import LayerNorm, Operation, Program, Quantize, Softmax
from edgecomp.plan.values import Order
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
        readers = [o for o in uses.consumers(y) if is_narrow(o)]
        if y.order is not Order.ROW_MAJOR or y.alias_of is not None or not readers:
            continue
        quantize = readers[0]
        alone = uses.only_consumer(y) is quantize
        if not alone and isinstance(operation.kind, Softmax):
            continue
        fused = dataclasses.replace(
            operation,
            outputs=[quantize.output] if alone else [y, quantize.output],
            nodes=tuple(dict.fromkeys([*operation.nodes, *quantize.nodes])),
        )
        if is_claimed(fused, target):
            made[operation] = fused
            gone.add(quantize)
    return exchanged(program, made, gone)


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
