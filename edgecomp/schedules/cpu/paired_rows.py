"""Rows of x side by side in the workspace, scaled for products with pairs (paired_numbers.py).

Of each row: its elements times their factors times a power of two that brings their mean magnitude
to [1, 2), and behind the last whole vector what its own pairs add up to and the power of two that
scales results back.
"""

import contextlib
import dataclasses
from collections.abc import Callable

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    constant,
    load,
    ramp,
    splat,
)
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu.iteration import power_of_two_below
from edgecomp.schedules.cpu.paired_loop import LANES
from edgecomp.schedules.cpu.paired_numbers import PAIR_STEP, Pairing
from edgecomp.schedules.cpu.product import RunDimension
from edgecomp.schedules.cpu.rows import Row, fold_lanes
from edgecomp.schedules.cpu.vectors import pinned

_MANTISSA_BITS = 23
_BIAS = 127
#: Rows are scaled by at most this power of two, so that it is a normal number both ways; what is
#: smaller still counts as 0 where it is multiplied.
_MOST_EXPONENT = 60


@dataclasses.dataclass(frozen=True)
class PackedRow:
    """A row and its place.

    Attributes:
        runs: dimensions of K outside a contiguous run.
        length: of a run.
        x: index of the row's first element.
        to: index in the workspace.
        factors: index of the first factor.
    """

    runs: tuple[RunDimension, ...]
    length: int
    x: Expr
    to: Expr
    factors: Expr


class PairedRows:
    """Emits the packing of rows.

    Args:
        builder: of the kernel.
        pairing: of K.
        x, workspace: buffers.
        factors: buffer of the factors of x, None where all are 1.
    """

    def __init__(
        self,
        builder: KernelBuilder,
        pairing: Pairing,
        x: Buffer,
        workspace: Buffer,
        factors: Buffer | None,
    ) -> None:
        self.builder, self.pairing = builder, pairing
        self.x, self.workspace, self.factors = x, workspace, factors

    def pack(self, row: PackedRow) -> None:
        """One row."""
        builder, source, at, to = self.builder, self.x, row.x, row.to
        if row.runs or self.factors is not None:
            self._copy(row)
            source, at = self.workspace, to
        exponent = self._exponent(source, at)
        inverse = constant(2 * _BIAS << _MANTISSA_BITS, "int32") - exponent
        scale = pinned(builder, "scale", math.from_bits(inverse))
        pairs = fold_lanes(builder, self._scale(source, at, to, scale), _sum)
        end = to + padded(self.pairing.depth)
        builder.store(self.workspace, end, pairs)
        builder.store(self.workspace, end + 1, math.from_bits(exponent))

    def _exponent(self, source: Buffer, at: Expr) -> Expr:
        """Bits of the greatest power of two below the mean magnitude of a row."""
        builder, depth = self.builder, self.pairing.depth
        row = Row.of(builder, depth, LANES)

        def magnitude(position: Expr) -> Expr:
            return math.absolute(builder, load(source, at + position, row.lanes))

        mean = row.fold(0.0, _sum, magnitude) * constant(1.0 / depth, "float32")
        exponent = math.bits_of(mean) & constant(0xFF << _MANTISSA_BITS, "int32")
        lowest, highest = (
            (_BIAS + sign * _MOST_EXPONENT) << _MANTISSA_BITS for sign in (-1, 1)
        )
        return pinned(builder, "exponent", tirx.max(tirx.min(exponent, highest), lowest))

    def _copy(self, row: PackedRow) -> None:
        """The runs of a row side by side, times their factors."""
        builder = self.builder
        with contextlib.ExitStack() as loops:
            shift: Expr = 0
            position: Expr = 0
            for dimension in row.runs:
                run = loops.enter_context(builder.loop("run", 0, dimension.size))
                shift = shift + run * dimension.stride
                position = position * dimension.size + run
            if row.runs:
                shift = builder.let("shift", shift)
                position = builder.let("position", position * row.length)

            def copy(at: Expr, lanes: int) -> None:
                value = load(self.x, row.x + shift + at, lanes)
                if self.factors is not None:
                    value = value * load(self.factors, row.factors + position + at, lanes)
                builder.store(self.workspace, ramp(row.to + position + at, lanes), value)

            self._each(0, row.length, LANES, copy)

    def _scale(self, source: Buffer, at: Expr, to: Expr, scale: Expr) -> Expr:
        """Scale a row; the products of its pairs, by lanes."""
        builder, half = self.builder, self.pairing.half
        lanes = PAIR_STEP if half % LANES else LANES
        pairs = builder.array("pairs", "float32", lanes)
        builder.store(pairs, ramp(0, lanes), constant(0.0, "float32", lanes))
        odd = tirx.Ramp(0, 1, lanes) & constant(1, "int32", lanes)
        signs = odd << constant(31, "int32", lanes)

        def scaled(position: Expr, lanes: int) -> Expr:
            value = load(source, at + position, lanes) * splat(scale, lanes)
            value = pinned(builder, "scaled", value)
            builder.store(self.workspace, ramp(to + position, lanes), value)
            return value

        with builder.loop("vector", 0, half // lanes) as vector:
            one = scaled(vector * lanes, lanes)
            other = scaled(vector * lanes + half, lanes)
            signed = math.from_bits(math.bits_of(one) ^ signs)
            builder.store(pairs, ramp(0, lanes), load(pairs, 0, lanes) + signed * other)
        self._each(2 * half, self.pairing.depth, LANES, scaled)
        return load(pairs, 0, lanes)

    def _each(
        self, begin: int, end: int, lanes: int, body: Callable[[Expr, int], object]
    ) -> None:
        """``body(position, lanes)`` for vectors that cover [begin, end) once."""
        whole = (end - begin) // lanes
        with self.builder.loop("vector", 0, whole) as vector:
            body(begin + vector * lanes, lanes)
        at = begin + whole * lanes
        while at < end:
            lanes = power_of_two_below(end - at)
            body(at, lanes)
            at += lanes


def _sum(a: Expr, b: Expr) -> Expr:
    return a + b


def padded(depth: int) -> int:
    """Elements of a row with its zeros."""
    return -(-depth // LANES) * LANES


def row_stride(depth: int) -> int:
    """Elements from one packed row to the next, an odd number of cache lines.

    An even number would put the rows of a tile into few sets of the level-1 cache.
    """
    return (padded(depth) // LANES + 1 | 1) * LANES
