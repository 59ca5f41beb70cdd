"""Expressions of records to text, in the words that a language has."""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from edgecomp.schedules.text.language import Language, NoTextError, Text
from edgecomp.schedules.tirx import Dtype, dtype_of, joined

_INT32 = range(-(1 << 31), 1 << 31)
#: Larger than any vector.
_MULTIPLE_OF_ALL = 1 << 20
#: From it on a float32 has no bits behind the point.
_LEAST_SHIFT = 2.0**23

_ARITHMETIC = {"+": "+", "-": "-", "*": "*", "/": "/", "truncdiv": "/", "truncmod": "%"}
_BITWISE = {
    "&": "&", "|": "|", "^": "^", "<<": "<<", ">>": ">>", "bitwise_and": "&",
    "bitwise_or": "|", "bitwise_xor": "^",
}  # fmt: skip
_COMPARISONS = {
    "<": "<", "<=": "<=", ">": ">", ">=": ">=", "==": "==", "!=": "!=", "EQ": "==", "NE": "!=",
    "LT": "<", "LE": "<=", "GT": ">", "GE": ">=", "And": "&&", "Or": "||",
}  # fmt: skip
_JOINING = {
    "min": "min", "max": "max", "Min": "min", "Max": "max", "//": "floordiv",
    "floordiv": "floordiv", "%": "floormod", "floormod": "floormod",
}  # fmt: skip
#: Functions of one operand, whose result is of its type.
FUNCTIONS = frozenset(
    [
        *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh"),
        *("exp", "floor", "log", "nearbyint", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh"),
        "trunc",
    ]
)
#: Functions that kernels call by the names that OpenCL gives them.
CALLS = frozenset(["mad", "mad24", "fma", "dot"])


class ExpressionWriter(Language):
    """A language that writes expressions."""

    #: Functions of one operand, whose result is of its type.
    functions: ClassVar = FUNCTIONS
    #: Functions that kernels call by the names that OpenCL gives them.
    calls: ClassVar = FUNCTIONS | CALLS
    #: Whether compilers of the language may compute ``(x + y) - y`` as x.
    reorders_sums: ClassVar = True

    def __init__(self, symbol: str) -> None:
        super().__init__(symbol)
        #: Powers of two by which integer variables can be divided.
        self._multiples: dict[int, int] = {}

    def expression(self, record: Any) -> Text:
        """The text of a record."""
        if type(record) is not tuple:
            return self._number(record)
        name = record[0]
        if name == "Var":
            return Text(self.names[id(record)], dtype_of(record[2]))
        if name in _ARITHMETIC:
            return self._binary(_ARITHMETIC[name], *record[1:])
        if name in _BITWISE:
            return self._bitwise(_BITWISE[name], *record[1:])
        if name in _COMPARISONS:
            left, right, dtype = self._alike(*record[1:])
            truth = dtype_of("bool").with_lanes(dtype.lanes)
            return Text(self.comparison(left, _COMPARISONS[name], right, dtype), truth)
        if name in _JOINING:
            left, right, dtype = self._alike(*record[1:])
            return Text(self.join(_JOINING[name], left, right, dtype), dtype)
        if name in self.functions:
            x = self.expression(record[1])
            return Text(self.apply(name, [x], x.dtype), x.dtype)
        if name not in _EXPRESSIONS:
            raise NoTextError(f"function {name}")
        return _EXPRESSIONS[name](self, *record[1:])

    def _number(self, value: Any) -> Text:
        if type(value) is bool:
            return self._constant(value, "bool")
        if type(value) is int:
            return self._constant(value, "int32" if value in _INT32 else "int64")
        if type(value) is float:
            return self._constant(value, "float32")
        raise TypeError(f"{value!r} in the record of a kernel")

    def _constant(self, value: Any, dtype: str) -> Text:
        kind = dtype_of(dtype)
        return Text(self.constant(value, kind), kind)

    def _alike(self, a: Any, b: Any) -> tuple[str, str, Dtype]:
        """Two operands of one type."""
        left, right = self.expression(a), self.expression(b)
        dtype = left.dtype
        if dtype is not right.dtype:
            dtype = joined(left.dtype, right.dtype)
        return self.converted(left, dtype), self.converted(right, dtype), dtype

    def _binary(self, operator: str, a: Any, b: Any) -> Text:
        if self.reorders_sums and operator == "-" and (found := _rounded_sum(a, b)):
            return self._from_mantissa(*found)
        left, right, dtype = self._alike(a, b)
        short = _short(left, operator, right) if dtype.name == "int32" else ""
        return Text(short or self.operation(left, operator, right, dtype), dtype)

    def _from_mantissa(self, total: Any, shift: float) -> Text:
        """What is left of a sum that rounded to an integer, without the number added.

        ``(x + 2^23) - 2^23`` is x where a compiler may reorder sums. The bits of the two differ
        by the integer.
        """
        x = self.expression(total)
        whole = dtype_of("int32").with_lanes(x.dtype.lanes)
        bits = self._constant(int(np.float32(shift).view(np.int32)), "int32")
        less = self.operation(
            self.reinterpret(x, whole), "-", self.converted(bits, whole), whole
        )
        return Text(self.converted(Text(less, whole), x.dtype), x.dtype)

    def _bitwise(self, operator: str, a: Any, b: Any) -> Text:
        """A number is of the other operand's type."""
        if type(b) is int and type(a) is tuple:
            left = self.expression(a)
            right = self.converted(self._number(b), left.dtype)
            return Text(self.operation(left.text, operator, right, left.dtype), left.dtype)
        if type(a) is int and type(b) is tuple:
            other = self.expression(b)
            first = self.converted(self._number(a), other.dtype)
            return Text(self.operation(first, operator, other.text, other.dtype), other.dtype)
        return self._binary(operator, a, b)

    def _unary(self, operator: str, a: Any) -> Text:
        x = self.expression(a)
        return Text(self.unary(operator, x), x.dtype)

    def _cast(self, dtype: str, value: Any) -> Text:
        kind = dtype_of(dtype)
        return Text(self.converted(self.expression(value), kind), kind)

    def _reinterpret(self, dtype: str, value: Any) -> Text:
        kind, bits = dtype_of(dtype), value[1] if value[0] == "Broadcast" else value
        if kind.element == "float32" and type(bits) is tuple and bits[0] == "const":
            # A compiler that knows the bits of a NaN refuses them.
            number = np.int64(bits[1]).astype(np.uint32).view(np.float32)
            return Text(self.converted(self._constant(float(number), "float32"), kind), kind)
        return Text(self.reinterpret(self.expression(value), kind), kind)

    def _select(self, condition: Any, chosen: Any, other: Any) -> Text:
        a, b, dtype = self._alike(chosen, other)
        return Text(self.select(self.expression(condition), a, b), dtype)

    def _shuffle(self, vectors: list[Any], indices: list[Any]) -> Text:
        if all(self.expression(v).dtype.lanes == 1 for v in vectors) and len(vectors) > 1:
            given = [self.expression(vectors[index]) for index in indices]
            dtype = given[0].dtype.with_lanes(len(given))
            return Text(self.vector([x.text for x in given], dtype), dtype)
        if len(vectors) != 1 or len(indices) != 1:
            raise NoTextError("vector of lanes of others")
        x = self.expression(vectors[0])
        return Text(self.lane(x, self.expression(indices[0]).text), x.dtype.with_lanes(1))

    def _broadcast(self, value: Any, lanes: int) -> Text:
        x = self.expression(value)
        dtype = x.dtype.with_lanes(lanes)
        return Text(self.converted(x, dtype), dtype)

    def _ramp(self, base: Any, stride: Any, lanes: int) -> Text:
        a, b, dtype = self._alike(base, stride)
        return Text(self.ramp(a, b, dtype.with_lanes(lanes)), dtype.with_lanes(lanes))

    def _load(self, buffer: Any, index: Any) -> Text:
        base, lanes = index, 1
        if type(index) is tuple and index[0] == "Ramp":
            _, base, stride, lanes = index
            if stride != 1:
                raise NoTextError(f"a load with stride {stride}")
        return self._load_lanes(buffer, base, lanes)

    def _address(self, place: Any) -> Text:
        _, buffer, index = place
        return Text(self.address(buffer, self.expression(index).text), dtype_of("handle"))

    def _load_lanes(self, buffer: Any, base: Any, lanes: int) -> Text:
        element = dtype_of(buffer[2])
        dtype = element.with_lanes(element.lanes * lanes)
        aligned = self._is_aligned(base, lanes)
        index = self.expression(base).text
        return Text(self.load(buffer, index, dtype, aligned=aligned), dtype)

    def _call(self, dtype: str, name: str, *arguments: Any) -> Text:
        kind = dtype_of(dtype)
        if name.startswith("vload"):
            _, (_, (_, buffer, index)) = arguments
            loaded = self._load_lanes(buffer, index, kind.lanes)
            # A float of 16 bits becomes one of 32 by vload_half.
            return Text(self.converted(loaded, kind), kind)
        if name not in self.calls:
            raise NoTextError(f"function {name}")
        given = [self.expression(argument) for argument in arguments]
        return Text(self.apply(name, given, kind), kind)

    # Multiples.

    def _is_aligned(self, index: Any, lanes: int) -> bool:
        return lanes & (lanes - 1) == 0 and self._multiple(index) % lanes == 0

    def _multiple(self, record: Any) -> int:
        """A power of two by which an integer expression can be divided."""
        if type(record) is int:
            return record & -record or _MULTIPLE_OF_ALL
        if type(record) is not tuple:
            return 1
        name = record[0]
        if name == "const" and type(record[1]) is int:
            return self._multiple(record[1])
        if name == "Var":
            return self._multiples.get(id(record), 1)
        if name == "*":
            product = self._multiple(record[1]) * self._multiple(record[2])
            return min(product, _MULTIPLE_OF_ALL)
        if name in ("+", "-", "Min", "Max", "min", "max"):
            return min(self._multiple(record[1]), self._multiple(record[2]))
        if name == "Select":
            return min(self._multiple(record[2]), self._multiple(record[3]))
        return 1


def _rounded_sum(a: Any, b: Any) -> tuple[Any, float] | None:
    """Sum and number of ``(sum, hidden from simplifiers) - number``, a number of 24 bits."""
    number = b[1] if type(b) is tuple and b[0] == "Broadcast" else b
    if type(number) is not tuple or number[0] != "const" or number[2] != "float32":
        return None
    if not _LEAST_SHIFT <= number[1] < 2 * _LEAST_SHIFT:
        return None
    if type(a) is not tuple or a[0] != "reinterpret" or not a[1].startswith("float32"):
        return None
    inner = a[2]
    if type(inner) is not tuple or inner[0] != "reinterpret":
        return None
    return inner[2], number[1]


def _short(left: str, operator: str, right: str) -> str:
    """An integer sum or product that is one of its operands, or 0; "" for others."""
    if operator == "+" and "0" in (left, right):
        return right if left == "0" else left
    if operator == "*" and "0" in (left, right):
        return "0"
    if operator == "*" and "1" in (left, right):
        return right if left == "1" else left
    return ""


_EXPRESSIONS: dict[str, Callable[..., Text]] = {
    "Broadcast": ExpressionWriter._broadcast,
    "BufferLoad": ExpressionWriter._load,
    "Cast": ExpressionWriter._cast,
    "Not": lambda self, x: self._unary("!", x),
    "Ramp": ExpressionWriter._ramp,
    "Select": ExpressionWriter._select,
    "Shuffle": ExpressionWriter._shuffle,
    "address_of": ExpressionWriter._address,
    "astype": lambda self, value, dtype: self._cast(dtype, value),
    "call_pure_extern": ExpressionWriter._call,
    "const": lambda self, value, dtype: self._constant(value, dtype),
    "neg": lambda self, x: self._unary("-", x),
    "reinterpret": ExpressionWriter._reinterpret,
    "~": lambda self, x: self._unary("~", x),
}
