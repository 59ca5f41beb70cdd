"""What each Reduce operator does to an element, to two partial results and to the last one."""

import dataclasses
import math
from collections.abc import Callable

from edgecomp.device.target import Target
from edgecomp.plan.finish import Requantize
from edgecomp.plan.reductions import Reduce
from edgecomp.plan.sizes import Dimension, is_dynamic
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder, constant, splat
from edgecomp.schedules.cpu import math as vector_math
from edgecomp.schedules.cpu.epilogue import requantize, vector_dtype


@dataclasses.dataclass(frozen=True, kw_only=True)
class Steps:
    """A reduction, apart from its loops. Expressions may be scalars or vectors.

    Attributes:
        identity: changes nothing when combined.
        element: (builder, stored element, lanes) -> what is combined.
        combine: of two partial results.
        finish: (builder, result, reduced elements, lanes) -> output.
        accumulator: dtype of partial results.
        shifted: LogSumExp: elements are taken relative to their maximum, which a first pass
            finds.
    """

    identity: float
    element: Callable[[KernelBuilder, Expr, int], Expr]
    combine: Callable[[Expr, Expr], Expr]
    finish: Callable[[KernelBuilder, Expr, Dimension, int], Expr]
    accumulator: str = "float32"
    shifted: bool = False

    @property
    def squares(self) -> bool:
        """Whether it adds up squares."""
        return self.element is _square


def _same(_builder: KernelBuilder, x: Expr, _lanes: int) -> Expr:
    return x


def _magnitude(builder: KernelBuilder, x: Expr, _lanes: int) -> Expr:
    return vector_math.absolute(builder, x)


def _square(_builder: KernelBuilder, x: Expr, _lanes: int) -> Expr:
    return x * x


def _exponential(builder: KernelBuilder, x: Expr, _lanes: int) -> Expr:
    return vector_math.exp(builder, x)


def _add(a: Expr, b: Expr) -> Expr:
    return a + b


def _multiply(a: Expr, b: Expr) -> Expr:
    return a * b


def _total(_builder: KernelBuilder, x: Expr, _count: Dimension, _lanes: int) -> Expr:
    return x


def _mean(builder: KernelBuilder, x: Expr, count: Dimension, lanes: int) -> Expr:
    if is_dynamic(count):
        return x / splat(tirx.Cast("float32", builder.size(count)), lanes)
    return x / constant(float(count), "float32", lanes)


def _root(builder: KernelBuilder, x: Expr, _count: Dimension, lanes: int) -> Expr:
    named = builder.let("total", x, vector_dtype("float32", lanes))
    return vector_math.sqrt(builder, named)


def _logarithm(builder: KernelBuilder, x: Expr, _count: Dimension, lanes: int) -> Expr:
    named = builder.let("total", x, vector_dtype("float32", lanes))
    return vector_math.log(builder, named)


#: Of ``Reduce``: those of ONNX, and ReduceMeanSquare, which is the mean of squares.
OPERATORS = {
    "ReduceSum": Steps(identity=0.0, element=_same, combine=_add, finish=_total),
    "ReduceMean": Steps(identity=0.0, element=_same, combine=_add, finish=_mean),
    "ReduceMax": Steps(identity=-math.inf, element=_same, combine=tirx.max, finish=_total),
    "ReduceMin": Steps(identity=math.inf, element=_same, combine=tirx.min, finish=_total),
    "ReduceProd": Steps(identity=1.0, element=_same, combine=_multiply, finish=_total),
    "ReduceL1": Steps(identity=0.0, element=_magnitude, combine=_add, finish=_total),
    "ReduceL2": Steps(identity=0.0, element=_square, combine=_add, finish=_root),
    "ReduceSumSquare": Steps(identity=0.0, element=_square, combine=_add, finish=_total),
    "ReduceMeanSquare": Steps(identity=0.0, element=_square, combine=_add, finish=_mean),
    "ReduceLogSum": Steps(identity=0.0, element=_same, combine=_add, finish=_logarithm),
    "ReduceLogSumExp": Steps(
        identity=0.0, element=_exponential, combine=_add, finish=_logarithm, shifted=True
    ),
}

MAXIMUM = OPERATORS["ReduceMax"]


def integer_steps(
    kind: Reduce,
    parameters: Requantize,
    target: Target,
    output_dtype: str,
    multiplier_of: Callable[[KernelBuilder, Dimension], Expr] | None = None,
) -> Steps:
    """``acc = sum(q - zero_x)`` in int32, then requantized.

    Args:
        kind: of the operation, a mean.
        parameters: of its result.
        target: the device.
        output_dtype: of its result.
        multiplier_of: the multiplier of a dynamic number of elements.
    """

    def widen(_builder: KernelBuilder, x: Expr, lanes: int) -> Expr:
        return x.astype(vector_dtype("int32", lanes))

    def finish(builder: KernelBuilder, total: Expr, count: Dimension, lanes: int) -> Expr:
        if is_dynamic(count):
            assert multiplier_of is not None
            shift = builder.let("shift", builder.size(count) * kind.zero_x)
            centred = total - splat(shift, lanes)
            found = builder.let("multiplier", multiplier_of(builder, count), "float32")
            multiplier = splat(found, lanes)
        else:
            centred = total - constant(count * kind.zero_x, "int32", lanes)
            multiplier = constant(
                float(parameters.multiplier.reshape(-1)[0]), "float32", lanes
            )
        result = requantize(target, centred, multiplier, parameters, lanes)
        return result.astype(vector_dtype(output_dtype, lanes))

    return Steps(identity=0, element=widen, combine=_add, finish=finish, accumulator="int32")
