"""Exponentials relative to the greatest of their row are stored and summed in one pass.

m = ReduceMax(x);  e = Exp(x - m);  q = Quantize(e);  t = ReduceSum(e)
->
q, t = Exponentials(x)

all along the last dimension, where nothing else reads m and e: what attention's weights are
(passes/relative_softmax.py).
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.lower.claims import is_claimed
from edgecomp.lower.copied_views import made_by
from edgecomp.lower.fuse_quantize import is_narrow
from edgecomp.lower.uses import Uses, exchanged
from edgecomp.plan.attention import Exponentials
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.reductions import Reduce
from edgecomp.plan.values import Order, Value

#: Of the chain: its inputs are the scores and the greatest of each row.
_STEPS = (("Sub", (0, 1)), ("Exp", (2,)))


def fuse_exponentials(program: Program, target: Target) -> Program:
    """The program with fewer operations.

    Args:
        program: without branches and loops, in its layout; stays as it is.
        target: device.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    for chain in program.operations:
        parts = parts_of_exponentials(chain, uses)
        if parts is None:
            continue
        greatest, quantize, total = parts
        nodes = [node for part in (greatest, chain, quantize, total) for node in part.nodes]
        operation = dataclasses.replace(
            chain,
            kind=Exponentials(),
            inputs=list(greatest.inputs),
            outputs=[quantize.output, total.output],
            nodes=tuple(dict.fromkeys(nodes)),
        )
        if is_claimed(operation, target):
            made[chain] = operation
            gone.update(parts)
    return exchanged(program, made, gone)


def parts_of_exponentials(
    chain: Operation, uses: Uses
) -> tuple[Operation, Operation, Operation] | None:
    """What makes the greatest of each row, and what stores and sums the exponentials.

    Args:
        chain: that may compute the exponentials.
        uses: of the program.
    """
    kind = chain.kind
    if not isinstance(kind, Elementwise):
        return None
    if tuple((step.operator, step.operands) for step in kind.steps) != _STEPS:
        return None
    scores, peaks = chain.inputs
    greatest, readers = made_by(peaks, uses), uses.consumers(chain.output)
    if (
        greatest is None
        or greatest.inputs != [scores]
        or not _is_of_rows(greatest, "ReduceMax")
    ):
        return None
    if chain.output in uses.outputs or not all(map(_is_plain, (*chain.inputs, chain.output))):
        return None
    stores = [reader for reader in readers if is_narrow(reader)]
    sums = [reader for reader in readers if _is_of_rows(reader, "ReduceSum")]
    if len(readers) != 2 or len(stores) != 1 or len(sums) != 1:
        return None
    return greatest, stores[0], sums[0]


def _is_of_rows(operation: Operation, operator: str) -> bool:
    """Whether it reduces the last dimension alone, and keeps it."""
    kind = operation.kind
    if not isinstance(kind, Reduce) or kind.operator != operator or not kind.keepdims:
        return False
    last = len(operation.inputs[0].shape) - 1
    return kind.axes == (last,) and _is_plain(operation.output)


def _is_plain(value: Value) -> bool:
    """Whether a value lies in memory of its own in the order of its dimensions."""
    in_place = value.alias_of is None and value.part_of is None
    return in_place and value.order is Order.ROW_MAJOR and value.dtype == "float32"
