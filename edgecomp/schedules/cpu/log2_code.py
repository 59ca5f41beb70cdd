"""Powers of two in four bits: a sign and three bits of exponent, two weights to a byte.

A code ``8 * s + e`` is ``(-1)^s * 2^(e - 7)`` for e from 1 to 7, and 0 for e = 0. Models keep such
weights as float8 E5M2, which has all of these numbers; memory has the codes, and registers a table
of sixteen entries that makes floats of them again, which multiply-adds take: a shift of a float32's
exponent would be one instruction for each product where the table is one for each weight.

* AVX-512: ``vpermps`` takes the low 4 bits of each lane as an index into 16 float32 numbers.
* elsewhere: ``pshufb``, ``tbl`` or ``vtbl2`` gives the byte of E5M2, which is the upper half of a
  float16.
"""

import ml_dtypes
import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, intrinsic, reinterpret
from edgecomp.schedules.cpu.vectors import named

DTYPE = "float8_e5m2"
#: Exponents of the least and the greatest power.
LEAST, GREATEST = -6, 0
_EXPONENT_BIAS, _MANTISSA_BITS = 15, 2
_SIGN, _SIGN_OF_CODE = 0x80, 8
#: Bytes of the registers in which codes are looked up where there is no ``vpermps``.
REGISTER_BYTES = 16


def _bytes_of_codes() -> Array:
    """The byte of E5M2 of every code: uint8 [16]."""
    codes = np.arange(2 * _SIGN_OF_CODE)
    power = codes % _SIGN_OF_CODE
    field = power - 1 + LEAST + _EXPONENT_BIAS
    real = np.where(power > 0, field << _MANTISSA_BITS, 0)
    return np.where(codes >= _SIGN_OF_CODE, real | _SIGN, real).astype(np.uint8)


_BYTES = _bytes_of_codes()


def are_powers(weights: Array) -> bool:
    """Whether weights of E5M2 are all 0 or a power of two that has a code."""
    if weights.dtype.name != DTYPE:
        return False
    known = np.zeros(256, bool)
    known[_BYTES] = True
    return bool(known[weights.view(np.uint8)].all())


def codes_of(weights: Array) -> Array:
    """Codes of weights for which ``are_powers`` is true: uint8, one to a byte."""
    table = np.zeros(256, np.uint8)
    table[_BYTES[::-1]] = np.arange(2 * _SIGN_OF_CODE, dtype=np.uint8)[::-1]
    codes: Array = table[weights.view(np.uint8)]
    return codes


def looks_up_floats(target: Target) -> bool:
    """Whether a register holds 16 float32 numbers."""
    return target.has("avx512") and target.lanes(32) == REGISTER_BYTES


def floats_of_words(builder: KernelBuilder, bytes_: Expr) -> list[Expr]:
    """AVX-512: 16 bytes to the float32x16 of their low codes and that of their high ones."""
    table = _vector("float32x16", _BYTES.view(ml_dtypes.float8_e5m2).astype(np.float32))
    words = named(builder, "codes", tirx.Cast("int32x16", bytes_))
    both = (words, words >> constant(4, "int32", 16))
    name = "llvm.x86.avx512.permvar.sf.512"
    return [
        named(builder, "weight", intrinsic("float32x16", name, table, index)) for index in both
    ]


def floats_of_bytes(builder: KernelBuilder, bytes_: Expr, isa: str) -> list[Expr]:
    """16 bytes to float32x8: of their first and second half's low codes, then of the high ones."""
    bytes_ = named(builder, "codes", bytes_)
    low = bytes_ & constant(15, "uint8", REGISTER_BYTES)
    high = bytes_ >> constant(4, "uint8", REGISTER_BYTES)
    floats = []
    for codes in (low, high):
        if isa == "armv7":
            parts = [_looked_up_in_pairs(_part(codes, first)) for first in (0, 8)]
        else:
            whole = named(builder, "minifloats", _looked_up(codes, isa))
            parts = [_part(whole, first) for first in (0, 8)]
        for part in parts:
            halves = tirx.Cast("uint16x8", part) << constant(8, "uint16", 8)
            floats.append(
                named(builder, "weight", reinterpret("float16x8", halves).astype("float32x8"))
            )
    return floats


def _looked_up(codes: Expr, isa: str) -> Expr:
    table = _vector("uint8x16", _BYTES)
    if isa == "x86_64":
        return intrinsic("uint8x16", "llvm.x86.ssse3.pshuf.b.128", table, codes)
    return intrinsic("uint8x16", "llvm.aarch64.neon.tbl1.v16i8", table, codes)


def _looked_up_in_pairs(codes: Expr) -> Expr:
    """32-bit ARM looks up 8 bytes at once."""
    tables = [_vector("uint8x8", part) for part in (_BYTES[:8], _BYTES[8:])]
    return intrinsic("uint8x8", "llvm.arm.neon.vtbl2", *tables, codes)


def _part(vector: Expr, first: int) -> Expr:
    """Eight neighbouring lanes."""
    lanes = [tirx.const(first + index, "int32") for index in range(8)]
    return tirx.Shuffle([vector], lanes)


def _vector(dtype: str, values: Array) -> Expr:
    """A constant vector."""
    words = np.ascontiguousarray(values).view(np.int64)
    parts = [tirx.const(int(word), "int64") for word in words]
    whole = parts[0]
    if len(parts) > 1:
        whole = tirx.Shuffle(parts, [tirx.const(n, "int32") for n in range(len(parts))])
    return reinterpret(dtype, whole)
