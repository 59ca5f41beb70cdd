"""Element types without arithmetic of their own: bfloat16, floats of 8 and 4 bits, integers of 4 and 2.

They are storage formats. In memory a bfloat16 is a uint16, and an element of any other of them
is the low bits of one byte, as in ml_dtypes; the bits above are 0. Kernels compute in float32 or
int32 and convert as ONNX's Cast does: to the nearest value, halves to even.
"""

import dataclasses

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, reinterpret
from edgecomp.schedules.cpu.math import bits_of, from_bits, is_nan
from edgecomp.schedules.cpu.vectors import lanes_of, named, typed


@dataclasses.dataclass(frozen=True)
class Format:
    """A float of a sign, an exponent and a few bits of mantissa.

    Attributes:
        mantissa_bits: without the leading 1.
        bias: of the exponent.
        largest: code of the largest finite magnitude.
        overflow: code beyond it where results do not saturate.
        nan: code of NaN.
        sign: bit of the sign.
        signed_special: whether zero, infinity and NaN carry a sign.
    """

    mantissa_bits: int
    bias: int
    largest: int
    overflow: int
    nan: int
    sign: int = 0x80
    signed_special: bool = True


#: ONNX "Float stored in 8 bits" and "4 bit types".
FORMATS = {
    "float8_e4m3fn": Format(3, 7, 0x7E, 0x7F, 0x7F),
    "float8_e4m3fnuz": Format(3, 8, 0x7F, 0x80, 0x80, signed_special=False),
    "float8_e5m2": Format(2, 15, 0x7B, 0x7C, 0x7E),
    "float8_e5m2fnuz": Format(2, 16, 0x7F, 0x80, 0x80, signed_special=False),
    # No NaN and no infinity: NaN becomes the zero of the other sign, as in ml_dtypes.
    "float4_e2m1fn": Format(1, 1, 0x7, 0x7, 0x8, sign=0x8),
}
_MASKS = {"int4": 15, "uint4": 15, "int2": 3, "uint2": 3}
_POWER = "float8_e8m0fnu"
#: Types of one byte or less that only Cast makes and reads.
SMALL = frozenset({*FORMATS, *_MASKS, _POWER})


def memory_dtype(dtype: str) -> str:
    """The type that a kernel's pointer has."""
    if dtype == "bool" or dtype in SMALL:
        return "uint8"
    return "uint16" if dtype == "bfloat16" else dtype


def widen_bfloat16(bits: Expr) -> Expr:
    """uint16 to float32: the upper half."""
    lanes = lanes_of(bits)
    wide = tirx.Cast(typed("uint32", lanes), bits) << constant(16, "uint32", lanes)
    return reinterpret(typed("float32", lanes), wide)


def narrow_bfloat16(builder: KernelBuilder, x: Expr) -> Expr:
    """float32 to uint16."""
    lanes = lanes_of(x)
    bits = named(builder, "bits", bits_of(x))
    odd = (bits >> _integer(16, x)) & _integer(1, x)
    rounded = (bits + _integer(0x7FFF, x) + odd) >> _integer(16, x)
    quiet = ((bits >> _integer(16, x)) & _integer(0x8000, x)) | _integer(0x7FC0, x)
    return tirx.Cast(typed("uint16", lanes), tirx.Select(is_nan(x), quiet, rounded))


def encode(
    builder: KernelBuilder, x: Expr, dtype: str, *, saturate: bool, round_mode: str
) -> Expr:
    """float32 to the code of a float of 8 or 4 bits, as uint8."""
    if dtype == _POWER:
        code = _power_code(builder, x, saturate=saturate, round_mode=round_mode)
    else:
        code = _code(builder, x, FORMATS[dtype], saturate=saturate)
    return tirx.Cast(typed("uint8", lanes_of(x)), code)


def wrap(x: Expr, dtype: str) -> Expr:
    """int32 to the low bits of an integer of 4 or 2 bits, as uint8."""
    low = x & constant(_MASKS[dtype], "int32", lanes_of(x))
    return tirx.Cast(typed("uint8", lanes_of(x)), low)


def _integer(value: int, like: Expr) -> Expr:
    return constant(value, "int32", lanes_of(like))


def _code(builder: KernelBuilder, x: Expr, form: Format, *, saturate: bool) -> Expr:
    bits = named(builder, "bits", bits_of(x))
    size = named(builder, "size", bits & _integer(0x7FFFFFFF, x))
    shift = 23 - form.mantissa_bits
    odd = (size >> _integer(shift, x)) & _integer(1, x)
    rounded = (size + _integer((1 << (shift - 1)) - 1, x) + odd) >> _integer(shift, x)
    normal = rounded - _integer((127 - form.bias) << form.mantissa_bits, x)
    # Below the least normal number the float32 sum with a number whose last bit is the least
    # subnormal one rounds: its low bits are the code.
    unit = (127 + 1 - form.bias + shift) << 23
    lifted = bits_of(from_bits(size) + from_bits(_integer(unit, x)))
    small = size < _integer((127 + 1 - form.bias) << 23, x)
    code = tirx.Select(small, lifted - _integer(unit, x), normal)
    code = named(builder, "code", code)
    beyond = form.largest if saturate else form.overflow
    code = tirx.Select(code > _integer(form.largest, x), _integer(beyond, x), code)
    nan = is_nan(x)
    code = named(builder, "finite", code)
    sign = tirx.Select(bits < _integer(0, x), _integer(form.sign, x), _integer(0, x))
    signed = code | sign
    if form.signed_special:
        return tirx.Select(nan, _integer(form.nan, x) ^ sign, signed)
    signed = tirx.Select(tirx.EQ(code, _integer(0, x)), code, signed)
    return tirx.Select(nan, _integer(form.nan, x), signed)


def _power_code(builder: KernelBuilder, x: Expr, *, saturate: bool, round_mode: str) -> Expr:
    """The exponent of float32; the sign is dropped, as onnx's reference does."""
    bits = named(builder, "bits", bits_of(x))
    exponent = (bits >> _integer(23, x)) & _integer(0xFF, x)
    exponent = named(builder, "exponent", exponent)
    up = _rounds_up(bits, exponent, round_mode)
    most = 0xFE if saturate else 0xFF
    up = tirx.And(up, exponent < _integer(most, x))
    return exponent + tirx.Select(up, _integer(1, x), _integer(0, x))


def _rounds_up(bits: Expr, exponent: Expr, round_mode: str) -> Expr:
    fraction = bits & _integer(0x7FFFFF, bits)
    if round_mode == "up":
        return fraction > _integer(0, bits)
    if round_mode == "down":
        return constant(False, "bool", lanes_of(bits))
    half = _integer(0x400000, bits)
    return tirx.Or(
        fraction > half, tirx.And(tirx.EQ(fraction, half), exponent > _integer(0, bits))
    )
