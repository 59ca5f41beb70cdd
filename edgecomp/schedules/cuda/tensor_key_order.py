"""Which keys of attention the columns of scores in tensor cores stand for."""

import dataclasses

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr
from edgecomp.schedules.cuda.tensor_depth import DepthOrder
from edgecomp.schedules.cuda.tensor_tile import Instruction


@dataclasses.dataclass(frozen=True)
class KeyOrder:
    """Which keys the columns of scores stand for.

    A thread has two neighbouring columns of each eight, or four. Of 8 bits four keys are a word; where
    their scores are in two fragments, columns of both take turns in pairs. Of 32 bits two neighbouring
    keys are a word in each half of K.

    Attributes:
        instruction: of the second product.
    """

    instruction: Instruction

    @property
    def turns(self) -> int:
        """Fragments whose columns take turns."""
        return max(1, self.instruction.word // self.instruction.fragments.row_sums)

    @property
    def depth(self) -> DepthOrder:
        """Of the second product."""
        return DepthOrder(self.instruction, max(1, 2 // self.instruction.word))

    @property
    def words(self) -> int:
        """That a thread's scores of a row are for an instruction of the second product."""
        fragments = self.instruction.fragments
        return (
            self.instruction.depth
            * fragments.row_sums
            // (self.instruction.word * fragments.columns)
        )

    def own(self, column: Expr) -> Expr:
        """The first key of a thread, by its first column of sums."""
        return column * self.turns

    def of_tile(self, tile: int) -> int:
        """The first key of a fragment."""
        whole, turn = divmod(tile, self.turns)
        return whole * self.instruction.fragments.columns * self.turns + 2 * turn

    def of_column(self, column: Expr) -> Expr:
        """The key of a column, from the fragment's first."""
        if self.turns == 1:
            return column
        pair = tirx.truncdiv(column, 2)
        return pair * (2 * self.turns) + tirx.truncmod(column, 2)
