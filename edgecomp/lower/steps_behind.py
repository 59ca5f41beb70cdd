"""Elementwise chains behind a product, as steps of the operation that takes them in."""

import dataclasses

from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value


def steps_behind(
    chain: Operation, product: Value
) -> tuple[tuple[Step, ...], list[Value]] | None:
    """Steps with the product as their first operand, and the other inputs; None if it comes twice."""
    kind = chain.kind
    assert isinstance(kind, Elementwise)
    others = [value for value in chain.inputs if value is not product]
    if len(others) != len(chain.inputs) - 1:
        return None
    place = chain.inputs.index(product)

    def moved(operand: int) -> int:
        return 0 if operand == place else operand + (operand < place)

    steps = tuple(
        dataclasses.replace(step, operands=tuple(map(moved, step.operands)))
        for step in kind.steps
    )
    return steps, others
