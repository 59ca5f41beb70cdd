"""Inner loop of float32 depthwise convolution on aarch64: a tile of columns, block by block.

Two vectors of channels lie beside each other in memory, so that one instruction loads or stores
both, and steps its pointer to the next column on the way. Registers are chosen here, since LLVM
joins no loads whose addresses are far apart and starts every one from an address of its own.

    sums      a pair per column, from v0 on
    x         a ring of pairs, loaded that many columns ahead
    taps      a pair per column of the window, of one row of it
    bounds    of the activation
"""

import dataclasses
import functools
from collections.abc import Iterator

from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.llvm_text import Bounds, image_tile_function
from edgecomp.schedules.cpu.windows import Window

#: Vectors of channels in a block.
PAIR = 2
PAIR_BYTES = 32
#: Pairs of x in registers that hide the time of a load.
_X_PAIRS = 3
#: Multiply-adds of a tile at most: code size.
_MOST_MULTIPLIES = 600


def most_columns(window: Window) -> int:
    """Columns of a tile that registers and code size allow; 0 where the loop cannot be used.

    x is walked column by column, so every one of them has to be met by a tap.
    """
    rows, taps = window.size
    if list(window.users(2)) != list(range(window.span(2))):
        return 0
    room = (VECTOR_REGISTERS - PAIR) // PAIR - taps - _X_PAIRS
    return max(0, min(room, _MOST_MULTIPLIES // (PAIR * rows * taps)))


@dataclasses.dataclass(frozen=True)
class LaneWindow:
    """All channel blocks of one tile.

    Attributes:
        window: of the convolution.
        columns: of the tile.
        blocks: of ``PAIR`` vectors of channels.
        x_row, x_column: bytes between rows that the window meets, and between columns of x.
        out_column: bytes between columns of the output.
        bounds: of the results, each None for none.
    """

    window: Window
    columns: int
    blocks: int
    x_row: int
    x_column: int
    out_column: int
    bounds: Bounds

    @functools.cached_property
    def _steps(self) -> tuple[int, ...]:
        """What pointers step by, in bytes.

        From one column of x to the next, from a row's end to the next row, from the last row
        to the next block; from one column of the output to the next, from the last to the
        next block.
        """
        span = self.window.span(self.columns)
        last = (self.window.size[0] - 1) * self.x_row + span * self.x_column
        return (
            self.x_column,
            self.x_row - span * self.x_column,
            PAIR_BYTES - last,
            self.out_column,
            PAIR_BYTES - self.columns * self.out_column,
        )

    @property
    def name(self) -> str:
        """Of its function: the same for the same code."""
        size, strides = self.window.size, self.window.strides
        numbers = [*size, *strides, self.columns, self.blocks, *self._steps]
        flags = "".join("n" if bound is None else "b" for bound in self.bounds)
        digits = "_".join(str(n).replace("-", "m") for n in numbers)
        return f"lane_window_{digits}_{flags}"

    def llvm(self) -> str:
        """LLVM's text: pointers to x, weights, output and to a low and a high bound."""
        return image_tile_function(
            self.name,
            self.assembly(),
            scalars=1,
            steps=self._steps,
            bounds=self.bounds,
            vectors=VECTOR_REGISTERS - PAIR,
        )

    def assembly(self) -> list[str]:
        """Instructions; operands: x, weights, output, counter, three x's, steps, bounds."""
        once = list(self._block())
        if self.blocks == 1:
            return once
        return [f"mov $3, #{self.blocks}", "1:", *once, "subs $3, $3, #1", "b.ne 1b"]

    def _block(self) -> Iterator[str]:
        """One block of channels."""
        rows, taps = self.window.size
        users = self.window.users(self.columns)
        span = self.window.span(self.columns)
        places = [(row, position) for row in range(rows) for position in range(span)]
        last_use = {t: p for p, found in users.items() for _, t in found}
        stride = self.window.strides[1]
        for place in range(min(self._ring, len(places))):
            yield from self._load_x(place, span)
        yield from self._first_sums()
        for tap in range(taps):
            yield self._load_tap(tap)
        done: list[int] = []
        for number, (row, position) in enumerate(places):
            for column, tap in sorted(users[position], reverse=True):
                yield from self._multiply(column, tap, number)
            if number + self._ring < len(places):
                yield from self._load_x(number + self._ring, span)
            for tap in range(taps):
                if last_use[tap] == position and row + 1 < rows:
                    yield self._load_tap(tap)
            if row + 1 == rows:
                done += [
                    column
                    for column, _ in users[position]
                    if position == column * stride + (taps - 1) * self.window.dilations[1]
                ]
                while len(done) > 1:
                    yield from self._finish(done.pop(0))
        for column in done:
            yield from self._finish(column)
        if self.blocks > 1:
            yield "add $0, $0, $9"
            yield "add $2, $2, $11"

    @functools.cached_property
    def _ring(self) -> int:
        """Pairs of x in registers."""
        return (VECTOR_REGISTERS - PAIR) // PAIR - self.columns - self.window.size[1]

    def _first_sums(self) -> Iterator[str]:
        """Every column starts at the bias: a load takes the place of two copies."""
        for column in range(self.columns):
            step = ", #32" if column + 1 == self.columns else ""
            yield f"ld1 {_pair(PAIR * column)}, [$1]{step}"

    def _load_tap(self, tap: int) -> str:
        return f"ld1 {_pair(self._tap(tap))}, [$1], #32"

    def _load_x(self, place: int, span: int) -> Iterator[str]:
        """A column of x; in front of a row's first, the step from the row before."""
        if place and place % span == 0:
            yield "add $0, $0, $8"
        yield f"ld1 {_pair(self._x(place))}, [$0], $7"

    def _multiply(self, column: int, tap: int, place: int) -> Iterator[str]:
        for vector in range(PAIR):
            yield (
                f"fmla v{PAIR * column + vector}.4s, v{self._x(place) + vector}.4s, "
                f"v{self._tap(tap) + vector}.4s"
            )

    def _finish(self, column: int) -> Iterator[str]:
        """Bounds and the store."""
        operand = 12
        for name, bound in zip(("fmax", "fmin"), self.bounds, strict=True):
            if bound is None:
                continue
            for vector in range(PAIR):
                register = f"v{PAIR * column + vector}.4s"
                yield f"{name} {register}, {register}, ${operand}.4s"
            operand += 1
        yield f"st1 {_pair(PAIR * column)}, [$2], $10"

    def _tap(self, tap: int) -> int:
        return PAIR * (self.columns + tap)

    def _x(self, place: int) -> int:
        return PAIR * (self.columns + self.window.size[1] + place % self._ring)


def _pair(first: int) -> str:
    return f"{{v{first}.4s, v{first + 1}.4s}}"
