"""Deviations whose squares are added up, and nothing else, need not be stored.

d = x - m;  z = ReduceMeanSquare(d) or ReduceSumSquare(d)
->
z = the same of x, centred at m

where m has a number for each result, and nothing else reads d: what normalisation of instances is
made of.
"""

import dataclasses

from edgecomp.lower.claims import Claims
from edgecomp.lower.fuse_squares import OF_SQUARES
from edgecomp.lower.uses import Uses, exchanged
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.reductions import Reduce


def fuse_deviations(program: Program, claims: Claims) -> Program:
    """The program with fewer operations.

    Args:
        program: without branches and loops, in its layout; stays as it is.
        claims: of the device's kernels.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    deviations: set[Operation] = set()
    for difference in program.operations:
        if not _is_difference(difference):
            continue
        reduction = uses.only_consumer(difference.output)
        kind = reduction.kind if reduction is not None else None
        if reduction is None or not isinstance(kind, Reduce):
            continue
        if kind.operator not in OF_SQUARES.values() or not _is_one_each(difference, kind):
            continue
        operation = dataclasses.replace(
            reduction,
            kind=dataclasses.replace(kind, centred=True),
            inputs=difference.inputs,
            nodes=tuple(dict.fromkeys(difference.nodes + reduction.nodes)),
            source=difference.source or reduction.source,
        )
        if claims(operation):
            made[reduction] = operation
            deviations.add(difference)
    return exchanged(program, made, deviations)


def _is_difference(operation: Operation) -> bool:
    """Whether it takes the second of two values off the first, which is as large as the result."""
    kind = operation.kind
    if not isinstance(kind, Elementwise) or len(operation.inputs) != 2:
        return False
    steps = [(step.operator, step.operands) for step in kind.steps]
    return steps == [("Sub", (0, 1))] and operation.inputs[0].shape == operation.output.shape


def _is_one_each(difference: Operation, kind: Reduce) -> bool:
    """Whether what is taken off is one number for all elements of each result.

    Without kept dimensions a value of the results' shape may be spread along others than the
    reduced ones: its dimensions are the last ones then.
    """
    x, centre = (value.shape for value in difference.inputs)
    axes = {axis % len(x) for axis in kind.axes}
    kept = tuple(1 if d in axes else extent for d, extent in enumerate(x))
    return (*(1,) * (len(x) - len(centre)), *centre) == kept
