"""Runs of K in inline assembly: what lane_loop.py and widened_loop.py have in common."""

import abc
import dataclasses
import functools
from collections.abc import Sequence

from edgecomp.schedules.builder import KernelBuilder, pointer_to
from edgecomp.schedules.cpu.arithmetic import Operands, RegisterTile
from edgecomp.schedules.cpu.lane_loads import GROUP, bases, load
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.llvm_text import tile_function

#: Elements of a load -> the name of the register.
_SIZES = {1: "s", 2: "d", 4: "q"}


@dataclasses.dataclass(frozen=True)
class RunLoop(abc.ABC):
    """A function for one run of K of one tile.

    Operands of its assembly, ``$n``, are the sums row by row, the pointers to x and to weights,
    which it moves, a counter, the sums and pointers again, then constants.

    Attributes:
        rows, vectors: of the tile.
        length: elements of K.
        shifts: bytes of x from the first row to each row.
    """

    rows: int
    vectors: int
    length: int
    shifts: tuple[int, ...]

    @property
    @abc.abstractmethod
    def period(self) -> int:
        """Elements of K in the loop's body."""

    @property
    @abc.abstractmethod
    def iterations(self) -> int:
        """Of the loop; 0 for none."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """Of the function: the same for the same code."""

    @abc.abstractmethod
    def llvm(self) -> str:
        """LLVM's text of the function: pointers to the sums of each row, to x, to weights."""

    @functools.cached_property
    def bases(self) -> tuple[int, ...]:
        """Rows with a pointer of their own: those that no offset reaches from the first row."""
        left = self.length - self.iterations * self.period
        return bases(self.shifts, [left, self.period + GROUP] if self.iterations else [left])

    @property
    def name_of_shifts(self) -> str:
        """For the function's name."""
        return "_".join(str(shift).replace("-", "m") for shift in self.shifts[1:])

    @property
    def weights(self) -> str:
        """The operand that points to them."""
        return f"${self._sums + len(self.bases)}"

    @property
    def counter(self) -> str:
        """The operand that counts the turns."""
        return f"${self._sums + len(self.bases) + 1}"

    def constant(self, number: int) -> str:
        """The operand that is a constant."""
        return f"${2 * (self._sums + len(self.bases) + 1) + 1 + number}"

    def load_row(self, row: int, k: int, size: int, register: int) -> str:
        """Load ``size`` elements of a row of x, from element ``k`` on."""
        base = row if row in self.bases else 0
        pointer = f"${self._sums + self.bases.index(base)}"
        offset = self.shifts[row] - self.shifts[base] + 4 * k
        return load(f"{_SIZES[size]}{register}", pointer, offset, 4 * size)

    def step_rows(self, elements: int) -> list[str]:
        """Move the pointers to x by some elements of K."""
        pointers = [f"${self._sums + n}" for n in range(len(self.bases))]
        return [f"add {pointer}, {pointer}, #{4 * elements}" for pointer in pointers]

    def function(
        self,
        assembly: Sequence[str],
        kind: str,
        first_register: int,
        constants: Sequence[str] = (),
    ) -> str:
        """LLVM's text of the function.

        Args:
            assembly: instructions.
            kind: LLVM's type of a register of sums.
            first_register: of those that the assembly chooses; it may overwrite all from there
                on.
            constants: with their types, to lie in vector registers.
        """
        clobbers = [f"~{{v{n}}}" for n in range(first_register, VECTOR_REGISTERS)]
        return tile_function(
            self.name,
            assembly,
            kind=kind,
            tile=(self.rows, self.vectors),
            pointers=[*(f"x{base}" for base in self.bases), "weights"],
            sums_in="w",
            constants=[(constant, "w") for constant in constants],
            clobbers=[*clobbers, "~{cc}"],
        )

    @property
    def _sums(self) -> int:
        return self.rows * self.vectors


def call_run_loop(
    builder: KernelBuilder, loop: RunLoop, tile: RegisterTile, operands: Operands
) -> None:
    """Emit a call of the loop."""
    builder.call_llvm(
        loop.name,
        loop.llvm(),
        *(pointer_to(sums, 0) for sums in tile.sums),
        *(pointer_to(operands.x, operands.x_rows[row]) for row in loop.bases),
        pointer_to(operands.weights, operands.weight_index),
    )
