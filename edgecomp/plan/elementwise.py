"""Operations that compute each element by itself."""

import dataclasses

from edgecomp.plan.finish import IntegerAdd, Requantize
from edgecomp.plan.values import Array


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of an elementwise chain.

    Attributes:
        operator: ONNX operator type (Add, Mul, Sigmoid, Where, Cast ...).
        operands: indices: 0..n-1 are the operation's inputs, n.. the results of earlier steps.
        attributes: ONNX attributes it needs, as sorted (name, value) pairs.
        dtype: of the result.
    """

    operator: str
    operands: tuple[int, ...]
    dtype: str
    attributes: tuple[tuple[str, float | int | str], ...] = ()


@dataclasses.dataclass(frozen=True)
class Elementwise:
    """A chain of elementwise steps over broadcast inputs; the last step is the output.

    inputs: values or constants, broadcast to the output's shape by numpy's rule.
    """

    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True)
class LookupTable:
    """Any function of one 8-bit value.

    inputs: x uint8 or int8.
    output: ``table[stored x - dtype minimum]``; the table has 256 entries of the output's dtype.
    """

    table: Array


@dataclasses.dataclass(frozen=True)
class QuantizedAdd:
    """Sum (or difference, by a negative weight) of two quantized values, broadcast.

    inputs: a, b uint8 or int8.
    """

    integer_add: IntegerAdd


@dataclasses.dataclass(frozen=True)
class QuantizedMultiply:
    """``acc = (a - zero_a) * (b - zero_b)``, then requantize; broadcast.

    inputs: a, b uint8 or int8.
    """

    zero_a: int
    zero_b: int
    requantize: Requantize
