"""Rows of x side by side in the workspace, scaled for products with pairs (paired_numbers.py).

Of each row: its elements times their factors times a power of two that brings their mean magnitude
to [1, 2), zeros up to a whole vector, then what its own pairs add up to, then the power of two that
scales results back.
"""

import contextlib

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, ramp
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu.paired_loop import LANES
from edgecomp.schedules.cpu.paired_numbers import PAIR_STEP, Pairing
from edgecomp.schedules.cpu.product import RunDimension
from edgecomp.schedules.cpu.rows import fold_lanes
from edgecomp.schedules.cpu.vectors import pinned

_MANTISSA_BITS = 23
_BIAS = 127
#: Rows are scaled by at most this power of two, so that it is a normal number both ways; what is
#: smaller still counts as 0 where it is multiplied.
_MOST_EXPONENT = 60


class PairedRows:
    """Emits the packing of rows.

    Args:
        builder: of the kernel.
        pairing: of K.
        x, workspace: buffers.
        factors: buffer of the factors of x.
    """

    def __init__(
        self,
        builder: KernelBuilder,
        pairing: Pairing,
        x: Buffer,
        workspace: Buffer,
        factors: Buffer,
    ) -> None:
        self.builder, self.pairing = builder, pairing
        self.x, self.workspace = x, workspace
        self.factors = factors

    def pack(
        self,
        runs: tuple[RunDimension, ...],
        length: int,
        x: Expr,
        to: Expr,
        factors: Expr,
    ) -> None:
        """One row.

        Args:
            runs: dimensions of K outside a contiguous run.
            length: of a run.
            x: index of the row's first element.
            to: index in the workspace.
            factors: index of the first factor.
        """
        total = self._copy(runs, length, x, to, factors)
        mean = fold_lanes(self.builder, total, lambda a, b: a + b) * constant(
            1.0 / self.pairing.depth, "float32"
        )
        lowest, highest = (
            (_BIAS + sign * _MOST_EXPONENT) << _MANTISSA_BITS for sign in (-1, 1)
        )
        exponent = math.bits_of(mean) & constant(0xFF << _MANTISSA_BITS, "int32")
        exponent = tirx.max(tirx.min(exponent, highest), lowest)
        exponent = pinned(self.builder, "exponent", exponent)
        inverse = constant(2 * _BIAS << _MANTISSA_BITS, "int32") - exponent
        scale = pinned(self.builder, "scale", math.from_bits(inverse))
        pairs = fold_lanes(self.builder, self._scale(to, scale), lambda a, b: a + b)
        end = to + padded(self.pairing.depth)
        self.builder.store(self.workspace, end, pairs)
        self.builder.store(self.workspace, end + 1, math.from_bits(exponent))

    def _copy(
        self,
        runs: tuple[RunDimension, ...],
        length: int,
        x: Expr,
        to: Expr,
        factors: Expr,
    ) -> Expr:
        """Elements times their factors; the sum of their magnitudes, by lanes."""
        builder = self.builder
        magnitudes = builder.array("magnitudes", "float32", LANES)
        builder.store(magnitudes, ramp(0, LANES), constant(0.0, "float32", LANES))

        def copy(position: Expr, shift: Expr, lanes: int) -> None:
            factor = load(self.factors, factors + position, lanes)
            value = pinned(builder, "value", load(self.x, x + shift, lanes) * factor)
            builder.store(self.workspace, ramp(to + position, lanes), value)
            known = load(magnitudes, 0, lanes) + math.absolute(builder, value)
            builder.store(magnitudes, ramp(0, lanes), known)

        with contextlib.ExitStack() as loops:
            shift: Expr = 0
            position: Expr = 0
            for dimension in runs:
                run = loops.enter_context(builder.loop("run", 0, dimension.size))
                shift = shift + run * dimension.stride
                position = position * dimension.size + run
            position = position * length
            if runs:
                shift = builder.let("shift", shift)
                position = builder.let("position", position)
            whole = length // LANES
            with builder.loop("vector", 0, whole) as vector:
                copy(position + vector * LANES, shift + vector * LANES, LANES)
            at = whole * LANES
            for lanes in (8, 4, 2, 1):
                if (length - at) & lanes:
                    copy(position + at, shift + at, lanes)
                    at += lanes
        self._pad(to)
        return load(magnitudes, 0, LANES)

    def _pad(self, to: Expr) -> None:
        at = self.pairing.depth
        for lanes in (1, 2, 4, 8):
            if at & lanes:
                zeros = constant(0.0, "float32", lanes)
                self.builder.store(self.workspace, ramp(to + at, lanes), zeros)
                at += lanes

    def _scale(self, to: Expr, scale: Expr) -> Expr:
        """Scale a row in place; the products of its pairs, by lanes."""
        builder, half = self.builder, self.pairing.half
        lanes = PAIR_STEP if half % LANES else LANES
        pairs = builder.array("pairs", "float32", lanes)
        builder.store(pairs, ramp(0, lanes), constant(0.0, "float32", lanes))
        signs = (tirx.Ramp(0, 1, lanes) & constant(1, "int32", lanes)) << constant(
            31, "int32", lanes
        )
        scales = tirx.Broadcast(scale, lanes)

        def scaled(at: Expr) -> Expr:
            value = load(self.workspace, at, lanes) * scales
            value = pinned(builder, "scaled", value)
            builder.store(self.workspace, ramp(at, lanes), value)
            return value

        with builder.loop("vector", 0, half // lanes) as vector:
            at = to + vector * lanes
            one, other = scaled(at), scaled(at + half)
            signed = math.from_bits(math.bits_of(one) ^ signs)
            builder.store(pairs, ramp(0, lanes), load(pairs, 0, lanes) + signed * other)
        with builder.loop(
            "vector", 2 * half // lanes, padded(self.pairing.depth) // lanes
        ) as v:
            scaled(to + v * lanes)
        return load(pairs, 0, lanes)


def padded(depth: int) -> int:
    """Elements of a row with its zeros."""
    return -(-depth // LANES) * LANES


def row_stride(depth: int) -> int:
    """Elements from one packed row to the next, an odd number of cache lines.

    An even number would put the rows of a tile into few sets of the level-1 cache.
    """
    return (padded(depth) // LANES + 1 | 1) * LANES
