"""Sums of a register tile over rows that were packed for pairs (paired_rows.py)."""

import dataclasses

from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, load, pointer_to, splat
from edgecomp.schedules.cpu.arithmetic import Arithmetic, RegisterTile, Start
from edgecomp.schedules.cpu.paired_loop import LANES, TURN, PairedLoop
from edgecomp.schedules.cpu.paired_numbers import Pairing
from edgecomp.schedules.cpu.paired_rows import padded, row_stride


@dataclasses.dataclass(frozen=True)
class Ahead:
    """Weights that a tile asks for while it computes.

    Attributes:
        at: index of the first.
        lines: cache lines of them for each turn of the loop.
        test: where this is what it asks for; None for everywhere.
    """

    at: Expr
    lines: int
    test: Expr | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """Weights of a column block.

    Attributes:
        weights: buffer of them.
        at: index of the first.
        starts: buffer of what accumulators start from.
        start: index of the first.
        ahead: what is asked for, of which one holds.
    """

    weights: Buffer
    at: Expr
    starts: Buffer
    start: Expr
    ahead: tuple[Ahead, ...]


class PairedTile:
    """Emits the sums of tiles of one kernel.

    Args:
        builder: of the kernel.
        arithmetic: of the products.
        pairing: of K.
        workspace: buffer with the packed rows.
    """

    def __init__(
        self,
        builder: KernelBuilder,
        arithmetic: Arithmetic,
        pairing: Pairing,
        workspace: Buffer,
    ) -> None:
        self.builder, self.arithmetic = builder, arithmetic
        self.pairing, self.workspace = pairing, workspace
        self.stride = row_stride(pairing.depth)

    def accumulate(self, panel: Panel, first: Expr, rows: int, vectors: int) -> RegisterTile:
        """All of K for one tile whose first row begins at index ``first`` of the workspace."""
        builder = self.builder
        tile = self.arithmetic.begin(builder, rows, vectors, Start(panel.starts, panel.start))
        for vector in range(vectors):
            for row in range(rows):
                start = tile.get(row, vector) - self._fact(first, row, 0)
                tile.set(builder, row, vector, start)
        for ahead in panel.ahead:
            with builder.condition(ahead.test):
                self._call(tile, panel, ahead, first)
        return tile

    def _call(self, tile: RegisterTile, panel: Panel, ahead: Ahead, first: Expr) -> None:
        loop = PairedLoop(
            rows=tile.rows,
            vectors=tile.vectors,
            pairing=self.pairing,
            row_stride=self.stride,
            next_lines=ahead.lines,
        )
        self.builder.call_llvm(
            loop.name,
            loop.llvm(),
            *(pointer_to(row, 0) for row in tile.sums),
            pointer_to(self.workspace, first),
            pointer_to(panel.weights, panel.at),
            pointer_to(panel.weights, ahead.at),
        )

    def scaled(self, tile: RegisterTile, first: Expr, row: int, vector: int) -> Expr:
        """A sum, scaled back as its row was scaled."""
        return tile.get(row, vector) * self._fact(first, row, 1)

    def _fact(self, first: Expr, row: int, number: int) -> Expr:
        """What lies behind a packed row, in all lanes."""
        at = first + (row * self.stride + padded(self.pairing.depth) + number)
        return splat(load(self.workspace, at), LANES)


def lines_ahead(vectors: int, tiles: int) -> int:
    """Cache lines of the next panel that a turn asks for where so many tiles share that.

    A turn reads as many lines as it has elements of K, of each vector.
    """
    return -(-TURN * vectors // tiles)


def share_of(lines: int, pairing: Pairing) -> int:
    """Elements of the next panel that a tile asks for."""
    return lines * LANES * (pairing.half // 2)
