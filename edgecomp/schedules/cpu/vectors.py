"""Small things about vector expressions that every elementwise kernel needs."""

from edgecomp.schedules.builder import Expr, KernelBuilder, intrinsic, load, ramp


def lanes_of(x: Expr) -> int:
    """Number of lanes of an expression."""
    return int(x.ty.dtype.lanes)


def typed(dtype: str, lanes: int) -> str:
    """Name of a vector type: ``float32x8``, or the scalar's for one lane."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def named(builder: KernelBuilder, name: str, value: Expr) -> Expr:
    """A name for a scalar or vector, so that it is computed once.

    A vector of bool keeps no name: TVM's simplifier fails on variables of that type, and LLVM
    joins equal comparisons anyway.
    """
    if value.ty.dtype.is_bool:
        return value
    return builder.let(name, value, str(value.ty.dtype))


def pinned(builder: KernelBuilder, name: str, value: Expr) -> Expr:
    """As ``named``, for values with many uses that are themselves used often.

    TVM's simplifier puts the definition of a name back into every use, so that chains of names
    grow exponentially before equal parts are joined again. A value in a small array stays;
    LLVM keeps the array in registers.
    """
    dtype, lanes = value.ty.dtype, lanes_of(value)
    if dtype.is_bool or builder.keeps_names:
        return named(builder, name, value)
    array = builder.array(name, str(dtype.with_lanes(1)), lanes)
    builder.store(array, ramp(0, lanes), value)
    return load(array, 0, lanes)


def any_lane(test: Expr) -> Expr:
    """Whether a comparison of vectors holds in any lane."""
    lanes = lanes_of(test)
    if lanes == 1:
        return test
    return intrinsic("bool", f"llvm.vector.reduce.or.v{lanes}i1", test)
