"""From accumulators to stored results: activation, requantization, residual addition.

Integer results follow docs/numerics.md to the bit: the multiply and the rounding are kept apart
by the clamp, so nothing can be contracted into a fused multiply-add.
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.plan.finish import (
    Accumulate,
    Activation,
    Finish,
    IntegerAdd,
    Requantize,
    RuntimeScale,
)
from edgecomp.plan.values import Array, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    constant,
    intrinsic,
    load,
    ramp,
)
from edgecomp.schedules.cpu import functions
from edgecomp.schedules.cpu.bounds import clamp
from edgecomp.schedules.cpu.rounding import rounded


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epilogue:
    """What happens to a vector of accumulators before it is stored.

    Attributes:
        output_dtype: of the results.
        multiplier: float32 [1] or [columns]: accumulators are scaled by it; None for float32
            accumulators that are not.
        activation: of float results.
        requantize: of quantized results (its multiplier is ``multiplier``).
        integer_add: of quantized results with a residual.
        runtime: of float results whose scale and zero point are computed while the model runs
            (its multiplier is ``multiplier``).
        residual_dtype: of the residual, "" for none.
    """

    output_dtype: str
    multiplier: Array | None = None
    activation: Activation | None = None
    requantize: Requantize | None = None
    integer_add: IntegerAdd | None = None
    runtime: RuntimeScale | None = None
    residual_dtype: str = ""

    def apply(
        self,
        builder: KernelBuilder,
        target: Target,
        total: Expr,
        lanes: int,
        multiplier: Expr | None,
        residual: Expr | None,
    ) -> Expr:
        """Emit it.

        Args:
            builder: receives statements.
            target: decides how to round.
            total: vector of accumulators, bias included.
            lanes: of the vector.
            multiplier: vector of multipliers of these columns.
            residual: vector of the residual.

        Returns:
            Vector of ``output_dtype``.
        """
        if self.requantize is not None:
            assert multiplier is not None
            return self._quantized(target, total, lanes, multiplier, residual)
        value = total
        if multiplier is not None:
            value = total.astype(vector_dtype("float32", lanes)) * multiplier
        if residual is not None:
            value = value + residual
        if self.activation is None:
            return value
        return functions.apply(builder, self.activation, value)

    def _quantized(
        self, target: Target, total: Expr, lanes: int, multiplier: Expr, residual: Expr | None
    ) -> Expr:
        assert self.requantize is not None
        result = requantize(target, total, multiplier, self.requantize, lanes)
        if self.integer_add is not None:
            assert residual is not None
            result = self._add(target, result, residual, lanes)
        return result.astype(vector_dtype(self.output_dtype, lanes))

    def _add(self, target: Target, result: Expr, residual: Expr, lanes: int) -> Expr:
        add = self.integer_add
        assert add is not None
        dtype = vector_dtype("int32", lanes)
        # (a - za) * wa + (b - zb) * wb: the zero points fold into one constant.
        shift = -add.zero_a * add.weight_a - add.zero_b * add.weight_b
        total = (
            result * constant(add.weight_a, "int32", lanes)
            + residual.astype(dtype) * constant(add.weight_b, "int32", lanes)
            + constant(shift, "int32", lanes)
        )
        scale = constant(float(add.requantize.multiplier.reshape(-1)[0]), "float32", lanes)
        return requantize(target, total, scale, add.requantize, lanes)


def float_epilogue(
    activation: Activation | None, residual: Value | None, multiplier: Array | None = None
) -> Epilogue:
    """Of float32 accumulators."""
    return Epilogue(
        output_dtype="float32",
        multiplier=multiplier,
        activation=activation,
        residual_dtype=residual.dtype if residual is not None else "",
    )


def integer_epilogue(
    finish: Finish,
    activation: Activation | None,
    integer_add: IntegerAdd | None,
    output: Value,
    residual: Value | None,
) -> Epilogue:
    """Of int32 accumulators."""
    if isinstance(finish, Accumulate):
        return Epilogue(output_dtype=output.dtype)
    return Epilogue(
        output_dtype=output.dtype,
        multiplier=finish.multiplier,
        activation=None if isinstance(finish, Requantize) else activation,
        requantize=finish if isinstance(finish, Requantize) else None,
        integer_add=integer_add,
        runtime=finish if isinstance(finish, RuntimeScale) else None,
        residual_dtype=residual.dtype if residual is not None else "",
    )


def refuse_epilogue(
    finish: Finish | None,
    activation: Activation | None,
    integer_add: IntegerAdd | None,
    output: Value,
    residual: Value | None,
) -> str:
    """Return "" when an epilogue exists for these parts of an operation, else why not."""
    if isinstance(finish, Requantize):
        if output.dtype not in ("uint8", "int8", "int16"):
            return f"quantized output of dtype {output.dtype}"
        if activation is not None:
            return "activation after a requantization"
        if (residual is None) != (integer_add is None):
            return "residual of a quantized result without its weights"
        if residual is not None and residual.dtype not in ("uint8", "int8"):
            return f"residual of dtype {residual.dtype}"
        return ""
    if isinstance(finish, Accumulate):
        plain = residual is None and activation is None and output.dtype == "int32"
        return "" if plain else "more than accumulators wanted of accumulators"
    if output.dtype != "float32":
        return f"output of dtype {output.dtype}"
    if residual is not None and residual.dtype != "float32":
        return f"residual of dtype {residual.dtype}"
    if integer_add is not None:
        return "integer addition to a float result"
    return functions.refusal(activation) if activation is not None else ""


def requantize(
    target: Target, total: Expr, multiplier: Expr, parameters: Requantize, lanes: int
) -> Expr:
    """int32 accumulators to int32 quantized values: "Requantize" in docs/numerics.md."""
    zero = parameters.zero_point
    scaled = total.astype(vector_dtype("float32", lanes)) * multiplier
    low, high = float(parameters.low - zero), float(parameters.high - zero)
    bounded = clamp(scaled, low, high, target.core.isa)
    return round_half_even(target, bounded, lanes) + constant(zero, "int32", lanes)


def round_half_even(target: Target, x: Expr, lanes: int) -> Expr:
    """float32 of magnitude below 2^22 to int32, ties to even."""
    dtype = vector_dtype("int32", lanes)
    if target.core.isa == "x86_64" and lanes in _X86_ROUND:
        return _X86_ROUND[lanes](dtype, x)
    if target.core.isa == "aarch64" and lanes == 4:
        return intrinsic(dtype, "llvm.aarch64.neon.fcvtns.v4i32.v4f32", x)
    return rounded(x)


_X86_ROUND = {
    16: lambda dtype, x: intrinsic(
        dtype,
        "llvm.x86.avx512.mask.cvtps2dq.512",
        x,
        constant(0, "int32", 16),
        tirx.const(-1, "int16"),
        tirx.const(4, "int32"),  # rounding mode of MXCSR: nearest even
    ),
    8: lambda dtype, x: intrinsic(dtype, "llvm.x86.avx.cvt.ps2dq.256", x),
    4: lambda dtype, x: intrinsic(dtype, "llvm.x86.sse2.cvtps2dq", x),
}


def vector_dtype(dtype: str, lanes: int) -> str:
    """TVM's name of a vector type."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def store_columns(
    builder: KernelBuilder, output: Buffer, index: Expr, value: Expr, lanes: int, count: int
) -> None:
    """Store the first ``count`` of ``lanes`` results, and nothing beyond them."""
    if count == lanes:
        builder.store(output, ramp(index, lanes), value)
        return
    whole = builder.array("tail", output.dtype, lanes)
    builder.store(whole, ramp(0, lanes), value)
    at = 0
    while at < count:
        piece = 1 << (count - at).bit_length() - 1
        builder.store(output, ramp(index + at, piece), load(whole, at, piece))
        at += piece
