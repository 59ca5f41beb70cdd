"""Integer depthwise products: one instruction adds several rows of the window.

For one input column the bytes of up to ``group`` input rows are interleaved channel by channel;
a dot-product instruction then multiplies them with the same column of the window. All output
columns whose windows meet that input column share the interleaved vectors, and so do
neighbouring output rows computed together.
"""

import abc
import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import (
    Expr,
    KernelBuilder,
    constant,
    intrinsic,
    reinterpret,
)
from edgecomp.schedules.cpu.epilogue import vector_dtype
from edgecomp.schedules.cpu.narrow import pick, piece_order
from edgecomp.schedules.cpu.windows import Window


@dataclasses.dataclass(frozen=True)
class Use:
    """One group of input rows as one output row sees it.

    Attributes:
        out_row: which of the output rows computed together.
        group: index of the group.
        kernel_rows: for each row of the group, the row of the window, or -1.
    """

    out_row: int
    group: int
    kernel_rows: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class RowPlan:
    """Input rows that ``height`` neighbouring output rows need, in groups."""

    height: int
    groups: tuple[tuple[int, ...], ...]
    uses: tuple[Use, ...]


def plan_rows(window: Window, height: int, group: int) -> RowPlan:
    """Group the input rows of ``height`` output rows."""
    stride, dilation = window.strides[0], window.dilations[0]
    seen = [
        {out_row * stride + tap * dilation: tap for tap in range(window.size[0])}
        for out_row in range(height)
    ]
    rows = sorted({row for taps in seen for row in taps})
    groups = tuple(tuple(rows[i : i + group]) for i in range(0, len(rows), group))
    uses = []
    for out_row, taps in enumerate(seen):
        for index, members in enumerate(groups):
            kernel_rows = tuple(taps.get(row, -1) for row in members)
            if max(kernel_rows) >= 0:
                uses.append(Use(out_row, index, kernel_rows))
    return RowPlan(height, groups, tuple(uses))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Products(abc.ABC):
    """A way to multiply and add.

    Attributes:
        name: of the instructions, the ``__`` part of kernel names.
        target: the device.
        x_dtype: of the bytes it takes; the other signedness is converted by flipping the sign
            bit.
        lanes: channels in a full vector of bytes.
        least_lanes: in the smallest.
        group: input rows that it adds at once.
        interleave_cost: instructions per group and input column.
        use_cost: instructions per use and column of the window.
        held: registers that operands and weights take beside the sums.
        ahead: operands per input column that LLVM makes before the first product, 0 where it
            interleaves them with products.
        loads_biases: whether sums start by loads from memory rather than by copies of registers.
    """

    name: str
    target: Target
    x_dtype: str
    lanes: int
    least_lanes: int
    group: int
    interleave_cost: int
    use_cost: int
    held: int
    ahead: int = 0
    loads_biases: bool = False

    def sums(self, lanes: int) -> int:
        """int32 vectors that hold the sums of ``lanes`` channels, in ``piece_order``."""
        return len(piece_order(self.target, lanes))

    @abc.abstractmethod
    def slots(self, use: Use) -> int:
        """Packed weights per lane and column of the window."""

    @abc.abstractmethod
    def pack(self, weights: Array, use: Use) -> Array:
        """Order the weights of one use and column: int8 [lanes, window rows] to flat."""

    @abc.abstractmethod
    def weight_vectors(self, lanes: int, use: Use) -> tuple[int, ...]:
        """Elements of each vector of packed weights."""

    def joins_columns(self, use: Use) -> bool:
        """Whether ``add`` takes operands and weights of two columns of the window at once."""
        del use
        return False

    @abc.abstractmethod
    def interleave(self, builder: KernelBuilder, rows: list[Expr], lanes: int) -> list[Expr]:
        """Bring a group of rows, vectors of bytes, into operands."""

    @abc.abstractmethod
    def add(
        self,
        builder: KernelBuilder,
        sums: list[Expr],
        operands: list[Expr],
        weights: list[Expr],
    ) -> list[Expr]:
        """Sums plus products."""


def unpack(
    builder: KernelBuilder, a: Expr, b: Expr, unit: int, lanes: int, dtype: str
) -> list[Expr]:
    """Interleave ``unit`` bytes of a with ``unit`` of b: within 128 bits, low half and high.

    Of eight bytes each it is one vector of sixteen.
    """
    if lanes == 8:
        order = np.arange(16).reshape(2, -1, unit).transpose(1, 0, 2).reshape(-1)
        return [builder.let("pairs", pick([a, b], order), vector_dtype(dtype, 16))]
    found = []
    for half in (0, 8):
        starts = [piece + half + i for piece in range(0, lanes, 16) for i in range(0, 8, unit)]
        indices = [
            s + u for start in starts for s in (start, lanes + start) for u in range(unit)
        ]
        found.append(
            builder.let("pairs", pick([a, b], np.array(indices)), vector_dtype(dtype, lanes))
        )
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class FourRows(Products):
    """``vpdpbusd`` and ``sdot``: four products per int32 lane."""

    def slots(self, use: Use) -> int:
        """Four rows, absent ones with weights of zero."""
        del use
        return 4

    def pack(self, weights: Array, use: Use) -> Array:
        """[vector][lane][row]."""
        columns = [
            weights[:, row] if row >= 0 else np.zeros(len(weights), np.int8)
            for row in (*use.kernel_rows, -1, -1, -1)[:4]
        ]
        return np.stack(columns, axis=1)[piece_order(self.target, len(weights))]

    def weight_vectors(self, lanes: int, use: Use) -> tuple[int, ...]:
        """A register of bytes per vector of sums."""
        del use
        count = self.sums(lanes)
        return (4 * lanes // count,) * count

    def interleave(self, builder: KernelBuilder, rows: list[Expr], lanes: int) -> list[Expr]:
        """Unpack bytes, then pairs of them."""
        # A row that is not there has weights of zero: any bytes will do.
        rows = [*rows, *rows[-1:] * 3][:4]
        first = unpack(builder, rows[0], rows[1], 1, lanes, self.x_dtype)
        second = first
        if len({id(row) for row in rows}) > 2 or rows[2] is not rows[0]:
            second = unpack(builder, rows[2], rows[3], 1, lanes, self.x_dtype)
        return [
            operand
            for a, b in zip(first, second, strict=True)
            for operand in unpack(builder, a, b, 2, max(lanes, 16), self.x_dtype)
        ]

    def add(
        self,
        builder: KernelBuilder,
        sums: list[Expr],
        operands: list[Expr],
        weights: list[Expr],
    ) -> list[Expr]:
        """One dot product per vector of sums."""
        del builder
        lanes = int(sums[0].ty.dtype.lanes)
        name = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
        if self.target.core.isa == "aarch64":
            name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
        dtype = vector_dtype("int32", lanes)
        return [
            intrinsic(dtype, name, total, operand, weight)
            for total, operand, weight in zip(sums, operands, weights, strict=True)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TwoRows(Products):
    """``vpmaddwd``: two products of 16 bits per int32 lane."""

    def slots(self, use: Use) -> int:
        """Two rows, an absent one with weights of zero."""
        del use
        return 2

    def pack(self, weights: Array, use: Use) -> Array:
        """[vector][lane][row], as 16 bits."""
        columns = [
            weights[:, row] if row >= 0 else np.zeros(len(weights), np.int8)
            for row in (*use.kernel_rows, -1)[:2]
        ]
        pairs = np.stack(columns, axis=1)[piece_order(self.target, len(weights))]
        return pairs.astype(np.int16)

    def weight_vectors(self, lanes: int, use: Use) -> tuple[int, ...]:
        """A register of 16-bit pairs per vector of sums."""
        del use
        return (lanes // 2,) * 4

    def interleave(self, builder: KernelBuilder, rows: list[Expr], lanes: int) -> list[Expr]:
        """Unpack bytes, then with zeros into 16 bits."""
        zeros = constant(0, "uint8", lanes)
        second = rows[1] if len(rows) > 1 else zeros
        return [
            reinterpret(vector_dtype("int16", lanes // 2), widened)
            for pairs in unpack(builder, rows[0], second, 1, lanes, self.x_dtype)
            for widened in unpack(builder, pairs, zeros, 1, lanes, self.x_dtype)
        ]

    def add(
        self,
        builder: KernelBuilder,
        sums: list[Expr],
        operands: list[Expr],
        weights: list[Expr],
    ) -> list[Expr]:
        """Multiply pairs, add."""
        del builder
        lanes = int(sums[0].ty.dtype.lanes)
        name = {
            4: "llvm.x86.sse2.pmadd.wd",
            8: "llvm.x86.avx2.pmadd.wd",
            16: "llvm.x86.avx512.pmaddw.d.512",
        }[lanes]
        dtype = vector_dtype("int32", lanes)
        return [
            total + intrinsic(dtype, name, operand, weight)
            for total, operand, weight in zip(sums, operands, weights, strict=True)
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WideningRows(Products):
    """``smull``, ``smlal``, ``saddw``: two products fit 16 bits, then they widen.

    2 * 128 * 127 = 32512.
    """

    def slots(self, use: Use) -> int:
        """The rows there are."""
        return len(use.kernel_rows)

    def pack(self, weights: Array, use: Use) -> Array:
        """[row][lane]."""
        zeros = np.zeros(len(weights), np.int8)
        return np.stack([weights[:, row] if row >= 0 else zeros for row in use.kernel_rows])

    def weight_vectors(self, lanes: int, use: Use) -> tuple[int, ...]:
        """A vector per row."""
        return (lanes,) * len(use.kernel_rows)

    def joins_columns(self, use: Use) -> bool:
        """A row without a partner: its products fit 16 bits with those of the next column."""
        return len(use.kernel_rows) == 1

    def interleave(self, builder: KernelBuilder, rows: list[Expr], lanes: int) -> list[Expr]:
        """Nothing to do: the multiplication widens."""
        del builder, lanes
        return rows

    def add(
        self,
        builder: KernelBuilder,
        sums: list[Expr],
        operands: list[Expr],
        weights: list[Expr],
    ) -> list[Expr]:
        """Products of eight channels at a time, added to two vectors of sums."""
        results = []
        for piece in range(0, 4 * len(sums), 8):
            lanes = np.arange(piece, piece + 8)
            products = [
                pick([x], lanes).astype("int16x8") * pick([weight], lanes).astype("int16x8")
                for x, weight in zip(operands, weights, strict=True)
            ]
            total = products[0] if len(products) == 1 else products[0] + products[1]
            named = builder.let("products", total, "int16x8")
            for half in (0, 4):
                wide = pick([named], np.arange(half, half + 4)).astype("int32x4")
                results.append(sums[(piece + half) // 4] + wide)
        return results


def products_of(target: Target) -> Products:
    """The best way a target has."""
    core = target.core
    if core.isa == "x86_64":
        lanes = target.lanes(8)
        vnni = target.has("avx512vnni" if lanes == 64 else "avxvnni")
        return _x86(target, lanes, vnni=vnni)
    if target.has("dotprod"):
        # Half a register of channels: weights of a column of the window then stay in registers.
        return FourRows(
            name="sdot",
            target=target,
            x_dtype="int8",
            lanes=8,
            least_lanes=8,
            group=4,
            interleave_cost=4,
            use_cost=2,
            held=12,
            ahead=1 if core.in_order else 2,
            loads_biases=True,
        )
    lanes = 16 if core.isa == "aarch64" else 8
    return WideningRows(
        name="smlal",
        target=target,
        x_dtype="int8",
        lanes=lanes,
        least_lanes=8,
        group=2,
        interleave_cost=0,
        use_cost=lanes // 2,
        held=12 if core.isa == "aarch64" else 10,
    )


def _x86(target: Target, lanes: int, *, vnni: bool) -> Products:
    if vnni:
        return FourRows(
            name="vnni",
            target=target,
            x_dtype="uint8",
            lanes=lanes,
            least_lanes=16,
            group=4,
            interleave_cost=8,
            use_cost=4,
            held=4,
        )
    return TwoRows(
        name="maddwd",
        target=target,
        x_dtype="uint8",
        lanes=lanes,
        least_lanes=16,
        group=2,
        interleave_cost=6,
        use_cost=8,
        held=4,
    )
