"""A layer normalisation writes what a QuantizeLinear makes of it, on the processor.

y = LayerNorm(x)
q = Quantize(y)
->
y, q = LayerNorm(x)      and q alone where nothing else reads y
"""

import dataclasses

from edgecomp.lower.uses import Uses
from edgecomp.plan.operations import LayerNorm, Operation, Program, Quantize
from edgecomp.plan.values import Order
from edgecomp.schedules.cpu.quantize import EIGHT_BITS


def fuse_quantize(program: Program) -> Program:
    """The program with fewer operations.

    Args:
        program: static, without branches and loops, in its layout; stays as it is.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    for operation in program.operations:
        if not isinstance(operation.kind, LayerNorm) or len(operation.outputs) > 1:
            continue
        y = operation.output
        readers = [o for o in uses.consumers(y) if _is_narrow(o)]
        if y.order is not Order.ROW_MAJOR or y.alias_of is not None or not readers:
            continue
        quantize = readers[0]
        alone = uses.only_consumer(y) is quantize
        made[operation] = dataclasses.replace(
            operation,
            outputs=[quantize.output] if alone else [y, quantize.output],
            nodes=tuple(dict.fromkeys([*operation.nodes, *quantize.nodes])),
        )
        gone.add(quantize)
    if not made:
        return program
    kept = [made.get(o, o) for o in program.operations if o not in gone]
    return dataclasses.replace(program, operations=kept)


def _is_narrow(reader: Operation) -> bool:
    """Whether an operation makes 8 bits of what it reads, in the same order."""
    if not isinstance(reader.kind, Quantize):
        return False
    output = reader.output
    in_place = output.order is Order.ROW_MAJOR and output.alias_of is None
    return in_place and output.part_of is None and output.dtype in EIGHT_BITS
