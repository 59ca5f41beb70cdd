"""Lookup of 8-bit elements in a table of 256 entries.

8-bit results are looked up a vector at a time where the instruction set has byte shuffles:

* NEON of aarch64: ``tbl`` and ``tbx`` over four registers cover 64 entries each and leave lanes
  out of range alone;
* AVX2 and AVX-512: ``pshufb`` covers 16 entries and gives 0 where the index is negative. The
  index is lowered by 16 (saturating) from step to step, so an index in block b takes part in the
  steps 0..b; with tables ``T_k xor T_(k-1)`` the exclusive or of those is ``T_b``;
* AVX-512 VBMI: ``vpermi2b`` covers 128 entries.

Elsewhere, and for wider results, elements are loaded one by one.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Expr,
    KernelBuilder,
    constant,
    intrinsic,
    load,
)
from edgecomp.schedules.cpu.vectors import lanes_of, named, typed
from edgecomp.schedules.schedule import Constant

_ENTRIES = 256
_BLOCK = 16
_PERMUTED = 64
_PSHUFB = {
    16: "llvm.x86.ssse3.pshuf.b.128",
    32: "llvm.x86.avx2.pshuf.b",
    64: "llvm.x86.avx512.pshuf.b.512",
}


def table_lanes(target: Target, dtype: str) -> int:
    """Elements looked up at once."""
    if np.dtype(dtype).itemsize > 1 or not _has_byte_shuffle(target):
        return 1
    return target.lanes(8)


def _has_byte_shuffle(target: Target) -> bool:
    return target.core.isa == "aarch64" or target.has("avx2")


class TableLookup:
    """Emits lookups in one table.

    Attributes:
        constant: what to pass for the pointer that the constructor adds.
    """

    def __init__(
        self, builder: KernelBuilder, target: Target, table: Array, source_dtype: str
    ) -> None:
        """Add the table's pointer to the kernel.

        Args:
            builder: of the kernel.
            target: for the instruction set.
            table: 256 entries, for the least stored value first.
            source_dtype: int8 or uint8; the source is then read as uint8.
        """
        bits = np.ascontiguousarray(table).reshape(-1)
        if bits.size != _ENTRIES:
            raise ValueError(f"a lookup table has 256 entries, not {bits.size}")
        bits = bits.view(f"uint{8 * bits.dtype.itemsize}")
        if np.dtype(source_dtype) == np.int8:  # bits 0x80 .. 0xFF, 0x00 .. 0x7F
            bits = np.roll(bits, _ENTRIES // 2)
        self._builder = builder
        self._target = target
        self._by_vector = table_lanes(target, str(bits.dtype)) > 1
        self._whole, self._pieces = self._instruction()
        if self._by_vector and self._whole == self._pshufb:
            bits = _difference_blocks(bits)
        self.constant = Constant("lookup_table", bits)
        self._table = builder.pointer("table", str(bits.dtype), _ENTRIES)

    def __call__(self, index: Expr) -> Expr:
        """Entries for a uint8 vector or scalar."""
        lanes = lanes_of(index)
        if self._by_vector:
            return self._by_pieces(index, lanes)
        if lanes == 1:
            return load(self._table, tirx.Cast("int32", index))
        index = named(self._builder, "bytes", index)
        elements = [
            load(self._table, tirx.Cast("int32", tirx.Shuffle([index], [lane])))
            for lane in range(lanes)
        ]
        return tirx.Shuffle(elements, list(range(lanes)))

    def _instruction(self) -> tuple[Callable[[Expr], Expr], tuple[int, ...]]:
        """What looks a vector up, and the lanes that it takes."""
        if self._target.core.isa != "x86_64":
            return self._tbl, (_BLOCK,)
        if self._target.has("avx512vbmi"):
            return self._permute, (_PERMUTED,)
        return self._pshufb, tuple(n for n in _PSHUFB if n <= self._target.lanes(8))

    def _by_pieces(self, index: Expr, lanes: int) -> Expr:
        """Cut or repeat the index to vectors that the instructions take."""
        if lanes in self._pieces:
            return self._whole(named(self._builder, "bytes", index))
        size = self._pieces[0]
        if lanes < size:
            copies = tirx.Shuffle([index] * -(-size // lanes), list(range(size)))
            found = self._whole(named(self._builder, "bytes", copies))
            return tirx.Shuffle([found], list(range(lanes)))
        index = named(self._builder, "bytes", index)
        starts = range(0, lanes, size)
        pieces = [
            tirx.Shuffle([index], [min(s + i, lanes - 1) for i in range(size)]) for s in starts
        ]
        found = [self._whole(named(self._builder, "bytes", piece)) for piece in pieces]
        return tirx.Shuffle(found, list(range(lanes)))

    def _permute(self, index: Expr) -> Expr:
        dtype = typed("uint8", _PERMUTED)
        quarters = [load(self._table, first, _PERMUTED) for first in range(0, _ENTRIES, 64)]
        low, high = (
            intrinsic(dtype, "llvm.x86.avx512.vpermi2var.qi.512", first, index, second)
            for first, second in (quarters[:2], quarters[2:])
        )
        return tirx.Select(index < constant(_ENTRIES // 2, "uint8", _PERMUTED), low, high)

    def _pshufb(self, index: Expr) -> Expr:
        lanes = lanes_of(index)
        dtype = typed("uint8", lanes)
        halves = []
        flipped = index ^ constant(0x80, "uint8", lanes)
        for half, start in enumerate((index, flipped)):
            position = start
            for block in range(8):
                if block:
                    lowered = intrinsic(
                        dtype,
                        f"llvm.ssub.sat.v{lanes}i8",
                        position,
                        constant(_BLOCK, "uint8", lanes),
                    )
                    position = named(self._builder, "position", lowered)
                entries = load(self._table, (half * 8 + block) * _BLOCK, _BLOCK)
                repeated = tirx.Shuffle([entries] * (lanes // _BLOCK), list(range(lanes)))
                halves.append(intrinsic(dtype, _PSHUFB[lanes], repeated, position))
        result = halves[0]
        for part in halves[1:]:
            result = result ^ part
        return result

    def _tbl(self, index: Expr) -> Expr:
        result: Expr | None = None
        first: list[Expr]
        for quarter in range(4):
            entries = [load(self._table, quarter * 64 + 16 * k, 16) for k in range(4)]
            if result is None:
                name, first = "llvm.aarch64.neon.tbl4.v16i8", []
            else:
                name, first = "llvm.aarch64.neon.tbx4.v16i8", [result]
                index = index - constant(64, "uint8", 16)
                index = named(self._builder, "lowered", index)
            value = intrinsic("uint8x16", name, *first, *entries, index)
            result = named(self._builder, "entry", value)
        return result


def _difference_blocks(table: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Each block of 16 entries xor the block before, within each half of the table."""
    blocks = table.reshape(2, 8, _BLOCK)
    changed = blocks.copy()
    changed[:, 1:] ^= blocks[:, :-1]
    return changed.reshape(-1)
