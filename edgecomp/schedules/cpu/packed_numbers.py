"""Numbers of 1, 2, 3, 4 or 8 bits out of 32-bit words, as float32."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, intrinsic, load
from edgecomp.schedules.cpu.vectors import typed

_SIGN_BIT = 31
#: Bits of the float32 -1.
_MINUS_ONE = 0xBF800000


class Unpacker:
    """Takes one number per lane out of vectors of words.

    With AVX-512 a number of at most 4 bits is looked up: ``vpermps`` takes the low 4 bits of
    every lane as an index into 16 floats, so that a shift and a permutation give
    ``number - zero``. Elsewhere it is shifted, masked and converted. A bit is a sign: where it is
    not looked up it is moved to the sign of -1.0, which it turns over.

    Args:
        builder: of the kernel, outside of its loops.
        target: the device.
        bits: of a number.
        zero: taken off by the table; 0 without one.
        lanes: of a vector.
    """

    def __init__(
        self, builder: KernelBuilder, target: Target, bits: int, zero: int, lanes: int
    ) -> None:
        self.builder, self.bits, self.lanes = builder, bits, lanes
        self.isa = target.core.isa
        self.table: Expr = None
        if self.has_table(target, bits):
            # Bits above a number of 2 or 3 belong to its neighbour: entries repeat.
            entries = np.arange(16) % (1 << bits) - zero
            if bits == 1:
                entries = 2 * entries - 1
            array = builder.array("numbers", "float32", 16)
            for index, entry in enumerate(entries):
                builder.store(array, index, constant(float(entry), "float32"))
            self.table = array

    @staticmethod
    def has_table(target: Target, bits: int) -> bool:
        """Whether numbers are looked up."""
        return bits <= 4 and target.has("avx512") and target.lanes(32) == 16

    def number(self, words: Expr, position: int) -> Expr:
        """float32 of the number at a position of every word."""
        lanes, shift = self.lanes, position * self.bits
        unsigned = tirx.reinterpret(typed("uint32", lanes), words)
        if shift:
            unsigned = unsigned >> constant(shift, "uint32", lanes)
        if self.table is not None:
            index = tirx.reinterpret(typed("int32", lanes), unsigned)
            table = load(self.table, 0, 16)
            return intrinsic("float32x16", "llvm.x86.avx512.permvar.sf.512", table, index)
        if self.bits == 1:
            return self._sign(words, position)
        if shift + self.bits < 32:
            unsigned = unsigned & constant((1 << self.bits) - 1, "uint32", lanes)
        signed = tirx.reinterpret(typed("int32", lanes), unsigned)
        return signed.astype(typed("float32", lanes))

    def _sign(self, words: Expr, position: int) -> Expr:
        """1.0 or -1.0 by the bit at a position."""
        lanes = self.lanes
        bits = tirx.reinterpret(typed("uint32", lanes), words)
        if position < _SIGN_BIT:
            bits = bits << constant(_SIGN_BIT - position, "uint32", lanes)
        sign = bits & constant(1 << _SIGN_BIT, "uint32", lanes)
        return tirx.reinterpret(
            typed("float32", lanes), sign ^ constant(_MINUS_ONE, "uint32", lanes)
        )
