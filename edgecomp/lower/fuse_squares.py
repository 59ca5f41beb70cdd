"""Squares that are only added up need not be stored.

y = x * x, or x ** 2;  z = ReduceMean(y) or ReduceSum(y)
->
z = ReduceMeanSquare(x), or ReduceSumSquare(x)

where nothing else reads y: what root mean square normalisation is made of.
"""

import dataclasses

import numpy as np

from edgecomp.lower.uses import Uses, exchanged
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.reductions import Reduce

#: Reductions that square what they read, by those that do not.
OF_SQUARES = {"ReduceMean": "ReduceMeanSquare", "ReduceSum": "ReduceSumSquare"}


def fuse_squares(program: Program) -> None:
    """Let reductions square what they read.

    Args:
        program: whose elementwise steps are not joined into chains yet; changed in place.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    squares: set[Operation] = set()
    for operation in program.operations:
        reduction = uses.only_consumer(operation.output) if _is_square(operation) else None
        if reduction is None or not isinstance(reduction.kind, Reduce):
            continue
        operator = OF_SQUARES.get(reduction.kind.operator)
        if operator is None or reduction.kind.requantize is not None:
            continue
        made[reduction] = dataclasses.replace(
            reduction,
            kind=dataclasses.replace(reduction.kind, operator=operator),
            inputs=operation.inputs[:1],
            nodes=operation.nodes + reduction.nodes,
            source=operation.source or reduction.source,
        )
        squares.add(operation)
    program.operations = exchanged(program, made, squares).operations


def _is_square(operation: Operation) -> bool:
    """Whether it is ``x * x`` or ``x ** 2`` of float32, element by element."""
    kind = operation.kind
    if not isinstance(kind, Elementwise) or len(kind.steps) != 1:
        return False
    x, *others = operation.inputs
    if (x.dtype, x.shape) != (operation.output.dtype, operation.output.shape):
        return False
    if x.dtype != "float32" or x.constant is not None:
        return False
    operator = kind.steps[0].operator
    if operator == "Mul":
        return all(value is x for value in others)
    exponents = [value.constant for value in others]
    return operator == "Pow" and all(e is not None and np.all(e == 2) for e in exponents)
