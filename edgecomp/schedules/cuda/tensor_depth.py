"""Which elements of K a thread has in its words of a step."""

import dataclasses

from edgecomp.schedules.cuda.tensor_tile import Instruction


@dataclasses.dataclass(frozen=True)
class DepthOrder:
    """Both operands of a product agree in it.

    Attributes:
        instruction: that multiplies.
        words: neighbouring ones that a thread has; of 1 there is one in each half of K.
    """

    instruction: Instruction
    words: int

    @property
    def parts(self) -> int:
        """Instructions of a step: a thread's words are two for each."""
        return max(1, self.words // 2)

    @property
    def step_elements(self) -> int:
        """Of K, in a step."""
        return self.parts * self.instruction.depth

    @property
    def own(self) -> int:
        """Elements between those where two threads begin that share a row."""
        return self.words * self.instruction.word

    @property
    def offsets(self) -> tuple[int, ...]:
        """First elements of a thread's words, two for each part, from where it begins."""
        if self.words == 1:
            return 0, self.instruction.depth // 2
        return tuple(k * self.instruction.word for k in range(self.words))
