"""Inner loop of float32 depthwise convolution on aarch64 cores that issue in order.

A tile is some columns of a few rows of the output, one vector of channels at a time: what
rows share of x is loaded once, and every tap stays in a register. Loads take offsets and
leave their pointer alone, since an access that steps it has to wait for the loads before.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

from edgecomp.schedules.cpu.issue_order import Instruction, in_issue_order
from edgecomp.schedules.cpu.lane_loads import VECTOR_BYTES
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.llvm_text import Bounds, image_tile_function
from edgecomp.schedules.cpu.windows import Window, width_tiles

#: Registers that are left for the bounds.
_BOUNDS = 2
#: Registers of x that hide the time of a load, by whether neighbouring windows are one column
#: apart: others have more loads per multiply.
_X_REGISTERS, _X_REGISTERS_STRIDED = 4, 6
#: Rows of a tile at most: those that are not neighbours share little.
_MOST_ROWS, _MOST_ROWS_STRIDED = 4, 2
#: Columns of a tile at most: more save few loads and cost code.
_MOST_COLUMNS = 8
#: Fewer columns than this are better served by the kernel without the loop.
ENOUGH_COLUMNS = 4
#: Instructions of a tile that move pointers and repeat the loop.
_TILE_INSTRUCTIONS = 7
#: Greatest offset of a load.
_MOST_OFFSET = 4095 * VECTOR_BYTES


def most_columns(window: Window, rows: int, steps: Sequence[int]) -> int:
    """Columns of a tile that registers and offsets allow; 0 where the loop cannot be used.

    Args:
        window: of the convolution.
        rows: of the tile.
        steps: bytes between columns of x and of the output.
    """
    if any(step % VECTOR_BYTES for step in steps):
        return 0
    if rows > 1 and (window.dilations[0] > 1 or window.strides[0] > window.size[0]):
        return 0
    taps = window.size[0] * window.size[1]
    x_registers = _X_REGISTERS if window.strides[1] == 1 else _X_REGISTERS_STRIDED
    room = (VECTOR_REGISTERS - _BOUNDS - x_registers - taps) // rows
    columns = max(0, min(room, _MOST_COLUMNS))
    while columns and window.span(columns) * max(steps) > _MOST_OFFSET:
        columns -= 1
    return columns


def tile_for(
    window: Window, height: int, width: int, steps: Sequence[int], *, one_image: bool
) -> tuple[int, int]:
    """Rows and columns of the tile with the fewest instructions; (0, 0) for no loop.

    Args:
        window: of the convolution.
        height: of the output.
        width: of the output.
        steps: bytes between columns of x and of the output.
        one_image: whether neighbouring rows of the output are always one image's.
    """
    most_rows = _MOST_ROWS if window.strides[0] == 1 else _MOST_ROWS_STRIDED
    most_rows = min(most_rows, height) if one_image else 1
    tiles = [(r, most_columns(window, r, steps)) for r in range(1, most_rows + 1)]
    usable = [tile for tile in tiles if tile[1] >= ENOUGH_COLUMNS]
    return min(
        usable, key=lambda tile: _instructions(window, height, width, *tile), default=(0, 0)
    )


def _instructions(window: Window, height: int, width: int, rows: int, columns: int) -> int:
    """Of a vector of channels of an image, but what each output takes in any tile.

    Rows that are left over are tiles of one row.
    """
    taps = window.size[0] * window.size[1]
    total = 0
    for tall, bands in ((rows, height // rows), (1, height % rows)):
        met = {
            r * window.strides[0] + tap for r in range(tall) for tap in range(window.size[0])
        }
        for tile in width_tiles(width, columns):
            loads = taps + len(met) * window.span(tile.width)
            copies = tall * tile.width
            total += bands * tile.count * (loads + copies + _TILE_INSTRUCTIONS)
    return total


@dataclasses.dataclass(frozen=True)
class LaneRows:
    """All channel blocks of one tile.

    Attributes:
        window: of the convolution.
        rows, columns: of the tile.
        blocks: vectors of channels.
        x_row, x_column: bytes between rows that the window meets, and between columns of x.
        out_row, out_column: the same of the output.
        bounds: of the results, each None for none.
    """

    window: Window
    rows: int
    columns: int
    blocks: int
    x_row: int
    x_column: int
    out_row: int
    out_column: int
    bounds: Bounds

    @property
    def name(self) -> str:
        """Of its function: the same for the same code."""
        numbers = [*self.window.size, *self.window.strides, *self.window.dilations]
        numbers += [self.rows, self.columns, self.blocks]
        numbers += [self.x_row, self.x_column, self.out_row, self.out_column]
        flags = "".join("n" if bound is None else "b" for bound in self.bounds)
        return f"lane_rows_{'_'.join(map(str, numbers))}_{flags}"

    def llvm(self) -> str:
        """LLVM's text: pointers to x, weights, output and to a low and a high bound."""
        down = self._x_reach * self.x_row
        back = VECTOR_BYTES - (len(self._x_rows) - 1) // self._x_reach * down
        return image_tile_function(
            self.name,
            self.assembly(),
            scalars=2,
            steps=(down, back, self._out_reach * self.out_row),
            bounds=self.bounds,
            vectors=VECTOR_REGISTERS - _BOUNDS,
        )

    def assembly(self) -> list[str]:
        """Instructions.

        Operands: x, weights, output, its rows out of reach, counter, the first three again, the
        steps to rows of x out of reach, to the next block and to such rows of the output, bounds.
        """
        start = in_issue_order(list(self._start()))
        block = in_issue_order(list(self._block()))
        return [*start, f"mov $4, #{self.blocks}", "1:", *block, "b.ne 1b"]

    @functools.cached_property
    def _x_rows(self) -> list[list[tuple[int, int]]]:
        """Per row of x: rows of the output that it is in the window of, with the tap's row."""
        found: dict[int, list[tuple[int, int]]] = {}
        for row in range(self.rows):
            for tap in range(self.window.size[0]):
                place = row * self.window.strides[0] + tap
                found.setdefault(place, []).append((row, tap))
        return [found[place] for place in sorted(found)]

    @property
    def _x_reach(self) -> int:
        """Rows of x that offsets reach from one pointer."""
        left = _MOST_OFFSET - self.window.span(self.columns) * self.x_column
        return 1 + left // self.x_row if self.x_row % VECTOR_BYTES == 0 else 1

    @property
    def _out_reach(self) -> int:
        """Rows of the output that offsets reach from one pointer."""
        left = _MOST_OFFSET - self.columns * self.out_column
        return 1 + left // self.out_row if self.out_row % VECTOR_BYTES == 0 else 1

    def _start(self) -> Iterator[Instruction]:
        """Loads that a block starts with: bias, taps, and x as far as there are registers."""
        yield _load("v0", "$1", 0)
        for tap in range(self._taps):
            yield _load(self._tap(tap), "$1", VECTOR_BYTES * (1 + tap))
        for number in range(self._loaded):
            yield self._load_x(number)

    def _block(self) -> Iterator[Instruction]:
        """One vector of channels and the start of the next, in an order that is right but slow.

        Behind the last block, what is loaded for the next one lies in the slack of x and in taps
        that no channel has.
        """
        for n in range(1, self.rows * self.columns):
            yield _load(f"v{n}", "$1", 0)
        number = 0
        for place, users in enumerate(self._x_rows):
            if place and place % self._x_reach == 0:
                yield _add("$0", "$0", "$8")
            for columns in self._users.values():
                if number >= self._loaded:
                    yield self._load_x(number)
                x = self._x(number)
                number += 1
                for column, tap in sorted(columns, reverse=True):
                    for row, tap_row in users:
                        weight = self._tap(tap_row * self.window.size[1] + tap)
                        total = self._sum(row, column)
                        yield Instruction(
                            f"fmla {total}.4s, {x}.4s, {weight}.4s",
                            (total,),
                            (total, x, weight),
                        )
        yield Instruction("subs $4, $4, #1", ("$4", "flags"), ("$4",), "int", 3)
        yield _add("$0", "$0", "$9")
        yield _add("$1", "$1", f"#{VECTOR_BYTES * (1 + self._taps)}")
        for row in range(self.rows):
            if row and row % self._out_reach == 0:
                yield _add("$3", "$2" if row == self._out_reach else "$3", "$10")
            for column in range(self.columns):
                yield from self._finish(row, column)
        yield _add("$2", "$2", f"#{VECTOR_BYTES}")
        yield from self._start()

    @functools.cached_property
    def _users(self) -> dict[int, list[tuple[int, int]]]:
        """Column of x -> (column of the tile, tap) that read it."""
        return self.window.users(self.columns)

    @property
    def _loaded(self) -> int:
        """Vectors of x, of the first row, that a block finds in registers."""
        return min(self._x_registers, len(self._users))

    def _load_x(self, number: int) -> Instruction:
        """A vector of x, counted row by row."""
        place, column = divmod(number, len(self._users))
        position = list(self._users)[column]
        offset = place % self._x_reach * self.x_row + position * self.x_column
        return _load(self._x(number), "$0", offset)

    def _x(self, number: int) -> str:
        return f"v{self._first_x + number % self._x_registers}"

    @property
    def _taps(self) -> int:
        return self.window.size[0] * self.window.size[1]

    def _finish(self, row: int, column: int) -> Iterator[Instruction]:
        """Bounds and the store."""
        total, operand = self._sum(row, column), 11
        for name, bound in zip(("fmax", "fmin"), self.bounds, strict=True):
            if bound is None:
                continue
            text = f"{name} {total}.4s, {total}.4s, ${operand}.4s"
            yield Instruction(text, (total,), (total,), "alu")
            operand += 1
        pointer = "$2" if row < self._out_reach else "$3"
        offset = row % self._out_reach * self.out_row + column * self.out_column
        text = f"str q{total[1:]}, [{pointer}, #{offset}]"
        yield Instruction(text, (), (total, pointer), "store", 1)

    def _sum(self, row: int, column: int) -> str:
        return f"v{row * self.columns + column}"

    def _tap(self, tap: int) -> str:
        return f"v{self.rows * self.columns + tap}"

    @property
    def _first_x(self) -> int:
        return self.rows * self.columns + self._taps

    @property
    def _x_registers(self) -> int:
        return VECTOR_REGISTERS - _BOUNDS - self._first_x


def _load(register: str, pointer: str, offset: int) -> Instruction:
    text = f"ldr q{register[1:]}, [{pointer}, #{offset}]"
    return Instruction(text, (register,), (pointer,), "load", 3)


def _add(result: str, first: str, second: str) -> Instruction:
    reads = [register for register in (first, second) if register.startswith("$")]
    return Instruction(f"add {result}, {first}, {second}", (result,), tuple(reads), "int", 3)
