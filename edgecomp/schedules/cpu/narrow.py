"""Requantization of several int32 vectors into one vector of bytes, by saturating narrowing.

"Requantize" of docs/numerics.md clamps the scaled value and then rounds it. Rounding is
monotonic and leaves the integers ``lo - z`` and ``hi - z`` alone, so that clamping after it
gives the same bits as long as the scaled value fits the conversion to an integer. The narrowing
instructions then saturate to the dtype's range on their way, and only a narrower ``lo..hi``
takes a maximum or minimum, on whole vectors of bytes: a third fewer instructions than clamping
each int32 vector.

aarch64 rounds by adding 1.5 * 2^23 instead: its conversions take four times as long. The product
is then ``fmulx``, which nothing contracts with that sum. The result lies in the low bits: whole
halves are picked where the products fit 16 bits, and clamped to it where they do not. An even
zero point is part of the number added: half to even of the sum is then that of the product.

The order of lanes: x86 narrows within 128-bit pieces. ``piece_order`` says which channel each
lane of the int32 vectors holds so that the bytes come out in order; kernels that interleave
rows by unpacking get it for nothing. ARM narrows in order.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from edgecomp.device.target import Target
from edgecomp.plan.finish import Requantize
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, intrinsic, reinterpret
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.epilogue import round_half_even, vector_dtype
from edgecomp.schedules.cpu.reach import Reach
from edgecomp.schedules.cpu.rounding import ROUNDING_MAGIC, ROUNDING_MAGIC_BITS

#: Below this magnitude a product needs no clamp before it is rounded: on x86 by the conversion,
#: on aarch64 by picking 16 bits of a sum. armv7 rounds by adding a constant, which without a
#: clamp before it would be contracted with the product into a fused multiply-add.
_CONVERTIBLE = {"x86_64": 2.0**30, "aarch64": 32000.0, "armv7": 0.0}

_X86_BITS = {
    128: "llvm.x86.sse2.{}.128",
    256: "llvm.x86.avx2.{}",
    512: "llvm.x86.avx512.{}.512",
}


def piece_order(target: Target, channels: int) -> npt.NDArray[np.int64]:
    """Channel held by each lane of the int32 vectors: [vectors, lanes].

    Args:
        target: the device.
        channels: of the byte vector: 16, 32 or 64 on x86 (four int32 vectors), 8 or 16 on ARM
            (vectors of four).
    """
    if target.core.isa != "x86_64":
        return np.arange(channels).reshape(-1, 4)
    pieces = np.arange(channels).reshape(-1, 4, 4)  # [128-bit piece, vector, lane]
    return pieces.transpose(1, 0, 2).reshape(4, -1)


def narrowed_together(target: Target, vectors: Sequence[int]) -> list[int]:
    """One to four vectors with copies of some behind them, as ``narrow`` takes them."""
    pairs = [*vectors, *[vectors[-1]] * (len(vectors) % 2)]
    return pairs if target.core.isa != "x86_64" or len(pairs) == 4 else [*pairs, *pairs]


def least_byte_lanes(target: Target) -> int:
    """Fewest bytes that ``narrow`` makes."""
    return 16 if target.core.isa == "x86_64" else 8


def pick(values: list[Expr], indices: npt.NDArray[np.int64]) -> Expr:
    """Lanes of several vectors, counted through all of them."""
    return tirx.Shuffle(values, [tirx.const(int(index), "int32") for index in indices])


@dataclasses.dataclass(frozen=True)
class Accumulators:
    """Vectors of sums on their way out.

    Attributes:
        totals: int32, in ``piece_order``.
        multipliers: float32, a vector per vector of totals.
        reach: of the totals.
    """

    totals: list[Expr]
    multipliers: list[Expr]
    reach: Reach

    @property
    def lanes(self) -> int:
        """Of each vector."""
        return int(self.totals[0].ty.dtype.lanes)

    def scaled(self, target: Target) -> Iterator[Expr]:
        """Totals times multipliers in float32, one vector after the other."""
        for total, multiplier in zip(self.totals, self.multipliers, strict=True):
            yield scaled(target, total, multiplier, self.lanes, self.reach)


def narrow(
    builder: KernelBuilder,
    target: Target,
    sums: Accumulators,
    parameters: Requantize,
    dtype: str,
) -> Expr:
    """Requantize.

    Args:
        builder: receives the statements.
        target: the device.
        sums: the accumulators.
        parameters: bounds and zero point; its multiplier is not read.
        dtype: uint8 or int8.

    Returns:
        All results in one vector of ``dtype``.
    """
    products = list(sums.scaled(target))
    return narrow_scaled(builder, target, products, parameters, dtype=dtype, reach=sums.reach)


def narrow_scaled(
    builder: KernelBuilder,
    target: Target,
    products: list[Expr],
    parameters: Requantize,
    *,
    dtype: str,
    reach: Reach,
) -> Expr:
    """``narrow`` of products of totals and multipliers.

    On aarch64 they must not be expressions that end in a multiplication.
    """
    lanes = int(products[0].ty.dtype.lanes)
    clamps = reach.magnitude >= _CONVERTIBLE[target.core.isa]
    rounded = []
    for product in products:
        value = clamped(target, product, parameters) if clamps else product
        integer = _rounded(target, value, lanes, parameters.zero_point)
        rounded.append(builder.let("rounded", integer, vector_dtype("int32", lanes)))
    zero = parameters.zero_point
    if target.core.isa == "x86_64":
        result = _narrow_x86(builder, rounded, lanes, zero, dtype)
    elif target.core.isa == "aarch64":
        return _narrow_aarch64(builder, rounded, parameters, dtype)
    else:
        result = _narrow_armv7(builder, rounded, zero, dtype)
    return _bound(builder, result, parameters, dtype, lanes * len(products))


def scaled(target: Target, total: Expr, multiplier: Expr, lanes: int, reach: Reach) -> Expr:
    """Totals as float32, times their multipliers: never contracted with what follows."""
    dtype = vector_dtype("float32", lanes)
    if reach.offset:
        value = reinterpret(dtype, total) - constant(ROUNDING_MAGIC, "float32", lanes)
    else:
        value = total.astype(dtype)
    if target.core.isa == "aarch64":
        return intrinsic(dtype, f"llvm.aarch64.neon.fmulx.v{lanes}f32", value, multiplier)
    return value * multiplier


def folded_zero(zero: int) -> int:
    """The zero point, where the sum that rounds can hold it: an odd one turns ties around."""
    return zero if zero % 2 == 0 else 0


def _rounded(target: Target, value: Expr, lanes: int, zero: int) -> Expr:
    """Rounded to int32; on aarch64 only the low 16 bits are the result's, zero folded in."""
    if target.core.isa == "aarch64":
        magic = ROUNDING_MAGIC + folded_zero(zero)
        shifted = value + constant(magic, "float32", lanes)
        return reinterpret(vector_dtype("int32", lanes), shifted)
    return round_half_even(target, value, lanes)


def clamped(target: Target, value: Expr, parameters: Requantize) -> Expr:
    """Between the bounds, less the zero point."""
    low = float(parameters.low - parameters.zero_point)
    high = float(parameters.high - parameters.zero_point)
    return clamp(value, low, high, target.core.isa)


def _bound(
    builder: KernelBuilder, value: Expr, parameters: Requantize, dtype: str, lanes: int
) -> Expr:
    """Apply bounds that are narrower than the dtype's."""
    info = np.iinfo(dtype)
    if parameters.low > info.min:
        value = tirx.max(value, constant(parameters.low, dtype, lanes))
    if parameters.high < info.max:
        value = tirx.min(value, constant(parameters.high, dtype, lanes))
    return builder.let("narrowed", value, vector_dtype(dtype, lanes))


def _add_saturating(value: Expr, zero: int, lanes: int) -> Expr:
    """``value + zero`` in int16."""
    if zero == 0:
        return value
    dtype = vector_dtype("int16", lanes)
    return intrinsic(
        dtype, f"llvm.sadd.sat.v{lanes}i16", value, constant(zero, "int16", lanes)
    )


def _narrow_x86(
    builder: KernelBuilder, rounded: list[Expr], lanes: int, zero: int, dtype: str
) -> Expr:
    name = _X86_BITS[lanes * 32]
    halves = []
    for first, second in (rounded[:2], rounded[2:]):
        words = vector_dtype("int16", 2 * lanes)
        packed = intrinsic(words, name.format("packssdw"), first, second)
        halves.append(builder.let("words", _add_saturating(packed, zero, 2 * lanes), words))
    pack = "packuswb" if dtype == "uint8" else "packsswb"
    return intrinsic(vector_dtype(dtype, 4 * lanes), name.format(pack), *halves)


def _narrow_armv7(builder: KernelBuilder, rounded: list[Expr], zero: int, dtype: str) -> Expr:
    to_words = "llvm.arm.neon.vqmovns.v4i16"
    to_bytes = f"llvm.arm.neon.{'vqmovnsu' if dtype == 'uint8' else 'vqmovns'}.v8i8"
    pieces = []
    for first, second in zip(rounded[::2], rounded[1::2], strict=True):
        words = [intrinsic("int16x4", to_words, value) for value in (first, second)]
        joined = _add_saturating(pick(words, np.arange(8)), zero, 8)
        named = builder.let("words", joined, "int16x8")
        pieces.append(intrinsic(vector_dtype(dtype, 8), to_bytes, named))
    return pieces[0] if len(pieces) == 1 else pick(pieces, np.arange(8 * len(pieces)))


def _narrow_aarch64(
    builder: KernelBuilder, rounded: list[Expr], parameters: Requantize, dtype: str
) -> Expr:
    """Low halves, then saturated to bytes."""
    assert ROUNDING_MAGIC_BITS % (1 << 16) == 0
    left = parameters.zero_point - folded_zero(parameters.zero_point)
    name, narrowed = ("sqxtn", "int8x8") if dtype == "int8" else ("sqxtun", "uint8x8")
    pieces = []
    for pair in zip(rounded[::2], rounded[1::2], strict=True):
        halves = [reinterpret("int16x8", value) for value in pair]
        words = builder.let("words", pick(halves, np.arange(0, 16, 2)), "int16x8")
        total = _add_saturating(words, left, 8)
        pieces.append(intrinsic(narrowed, f"llvm.aarch64.neon.{name}.v8i8", total))
    count = 4 * len(rounded)
    joined = pieces[0] if len(pieces) == 1 else pick(pieces, np.arange(count))
    return _bound(builder, joined, parameters, dtype, count)
