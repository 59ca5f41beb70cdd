"""Steps of an elementwise chain, written one after the other."""

from edgecomp.plan.elementwise import Step


class Chain:
    """Steps over ``inputs`` values.

    Attributes:
        steps: so far, in order.
    """

    def __init__(self, inputs: int) -> None:
        self.steps: list[Step] = []
        self._inputs = inputs

    @property
    def last(self) -> int:
        """Operand index of the newest result."""
        return self._inputs + len(self.steps) - 1

    def add(
        self,
        operator: str,
        *operands: int,
        dtype: str = "float32",
        attributes: tuple[tuple[str, float | int | str], ...] = (),
    ) -> int:
        """Append a step; returns the operand index of its result."""
        self.steps.append(Step(operator, operands, dtype, attributes))
        return self.last
