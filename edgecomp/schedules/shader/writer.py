"""Records of GPU kernels to text: what languages have in common.

A record (``schedules/tirx.py``) says all that a text needs: types are known, names are unique,
every statement is one of C's. This walks it; a language says how types, numbers, loads, stores
and functions are written.
"""

import abc
import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.tirx import Dtype, dtype_of, joined

#: Deeper than any kernel's expressions, as in ``schedules/tirx.py``.
_RECURSION_LIMIT = 10_000
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


class NoTextError(ValueError):
    """A language has no words for a part of a kernel."""


@dataclasses.dataclass(frozen=True)
class Text:
    """An expression.

    Attributes:
        text: in parentheses where it needs them.
        dtype: as the record's.
    """

    text: str
    dtype: Dtype


def written(writer: "TextWriter", kernel: Kernel) -> str:
    """The text of a kernel, which was built with a ``GridBuilder``.

    Raises:
        NoTextError: the language lacks a type or a function.
    """
    assert kernel.record is not None
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION_LIMIT))
    try:
        return writer.function(kernel.record.record)
    finally:
        sys.setrecursionlimit(limit)


class TextWriter(abc.ABC):
    """One function on its way.

    Args:
        symbol: its name.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.lines: list[str] = []
        #: Work items of a group.
        self.items = 1
        #: What stands for variables and buffers, by the identity of their records.
        self.names: dict[int, str] = {}
        #: Buffers (their pointers, where they have one) that are stored to, by identity.
        self.stored: set[int] = set()
        self._depth = 1
        #: Powers of two by which integer variables can be divided.
        self._multiples: dict[int, int] = {}
        self._used: dict[str, int] = {}

    def function(self, record: tuple[Any, ...]) -> str:
        """The text of a PrimFunc."""
        _, parameters, body = record
        for parameter in parameters:
            self.name(parameter, parameter[1])
        self._statement(body)
        return self.head(parameters) + "".join(f"{line}\n" for line in self.lines) + "}\n"

    def name(self, record: tuple[Any, ...], name: str) -> str:
        """One that no other variable has, and no word of the language."""
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        made = self.names[id(record)] = f"{name}_" if count == 0 else f"{name}_n{count}_"
        return made

    # What a language decides.

    @abc.abstractmethod
    def head(self, parameters: list[tuple[Any, ...]]) -> str:
        """All in front of the statements, once these are written."""

    @abc.abstractmethod
    def type_name(self, dtype: Dtype) -> str:
        """Of a value."""

    @abc.abstractmethod
    def thread(self, axis: str) -> str:
        """The number of ``blockIdx.x`` and its like as an int32."""

    @abc.abstractmethod
    def declare_array(
        self, record: tuple[Any, ...], name: str, dtype: Dtype, elements: int, *, shared: bool
    ) -> None:
        """A work item's own array, or a group's."""

    @abc.abstractmethod
    def declare(self, name: str, dtype: Dtype, value: str) -> str:
        """Statement: a value has a name."""

    @abc.abstractmethod
    def loop_head(self, name: str, first: str, end: str) -> str:
        """Head of a loop over [first, end)."""

    @abc.abstractmethod
    def barrier(self) -> str:
        """Statement: stores to shared arrays are seen by the group."""

    @abc.abstractmethod
    def constant(self, value: Any, dtype: Dtype) -> str:
        """A number."""

    @abc.abstractmethod
    def cast(self, x: Text, dtype: Dtype) -> str:
        """A value as one of another element type."""

    @abc.abstractmethod
    def broadcast(self, x: Text, lanes: int) -> str:
        """A scalar in every lane."""

    def vector(self, lanes: list[str], dtype: Dtype) -> str:
        """Of scalars."""
        return f"{self.type_name(dtype)}({', '.join(lanes)})"

    @abc.abstractmethod
    def ramp(self, base: str, stride: str, dtype: Dtype) -> str:
        """``base``, ``base + stride`` and so on."""

    @abc.abstractmethod
    def operation(self, left: str, operator: str, right: str, dtype: Dtype) -> str:
        """Arithmetic, bits and shifts of two operands of one type."""

    @abc.abstractmethod
    def comparison(self, left: str, operator: str, right: str, dtype: Dtype) -> str:
        """Of two operands of a type."""

    @abc.abstractmethod
    def join(self, name: str, left: str, right: str, dtype: Dtype) -> str:
        """``min``, ``max``, ``floordiv`` and ``floormod``."""

    @abc.abstractmethod
    def unary(self, operator: str, x: Text) -> str:
        """``-``, ``~`` and ``!``."""

    @abc.abstractmethod
    def apply(self, name: str, arguments: list[Text], dtype: Dtype) -> str:
        """A function of ``FUNCTIONS`` or ``CALLS``."""

    @abc.abstractmethod
    def reinterpret(self, x: Text, dtype: Dtype) -> str:
        """The same bits as another type."""

    @abc.abstractmethod
    def select(self, condition: Text, chosen: str, other: str) -> str:
        """One of two values."""

    @abc.abstractmethod
    def lane(self, x: Text, index: str) -> str:
        """An element of a vector."""

    @abc.abstractmethod
    def load(self, buffer: Any, index: str, dtype: Dtype, *, aligned: bool) -> str:
        """Neighbouring elements of a buffer; ``aligned`` where the index is a multiple."""

    @abc.abstractmethod
    def store(self, buffer: Any, index: str, value: Text, *, aligned: bool) -> str:
        """Statement: neighbouring elements to a buffer."""

    # Statements.

    def emit(self, line: str) -> None:
        """Add a line."""
        self.lines.append("  " * self._depth + line)

    def _block(self, head: str, body: tuple[Any, ...]) -> None:
        self.emit(f"{head} {{")
        self._depth += 1
        self._statement(body)
        self._depth -= 1
        self.emit("}")

    def _statement(self, record: tuple[Any, ...]) -> None:
        if record[0] not in _STATEMENTS:
            raise NoTextError(f"statement {record[0]}")
        _STATEMENTS[record[0]](self, *record[1:])

    def _thread_extent(self, axis: str, variable: Any, extent: int, body: Any) -> None:
        self.names[id(variable)] = self.thread(axis)
        if axis.startswith("threadIdx"):
            self.thread_items(axis, extent)
        self._statement(body)

    def thread_items(self, axis: str, extent: int) -> None:
        """Told how many work items a group has along an axis."""
        del axis
        self.items *= extent

    def _sequence(self, statements: list[Any]) -> None:
        for statement in statements:
            self._statement(statement)

    def _declare_buffer(self, buffer: Any, data: Any) -> None:
        self.names[id(buffer)] = self.names[id(data)]

    def _allocate(self, buffer: Any) -> None:
        kind, elements, dtype, name, place = buffer
        shared = kind == "decl_scoped_buffer" and place == "shared"
        made = self.name(buffer, name)
        self.declare_array(buffer, made, dtype_of(dtype), elements, shared=shared)

    def _bind(self, variable: Any, value: Any) -> None:
        kind = dtype_of(variable[2])
        self._multiples[id(variable)] = self._multiple(value)
        text = self.converted(self.expression(value), kind)
        self.emit(self.declare(self.name(variable, variable[1]), kind, text))

    def _for(self, variable: Any, begin: Any, extent: Any, body: Any) -> None:
        name = self.name(variable, variable[1])
        first, count = self.expression(begin).text, self.expression(extent).text
        end = count if first == "0" else f"{first} + {count}"
        self._block(self.loop_head(name, first, end), body)

    def _if(self, test: Any, then: Any) -> None:
        self._block(f"if ({self.expression(test).text})", then)

    def _store(self, buffer: Any, value: Any, index: Any) -> None:
        self.stored.add(id(buffer[4]) if buffer[0] == "decl_buffer" else id(buffer))
        element, base, lanes = dtype_of(buffer[2]), index, 1
        if type(index) is tuple and index[0] == "Ramp":
            _, base, stride, lanes = index
            if stride != 1:
                raise NoTextError(f"a store with stride {stride}")
        wanted = element.with_lanes(lanes * element.lanes)
        given = Text(self.converted(self.expression(value), wanted), wanted)
        aligned = self._is_aligned(base, lanes)
        self.emit(self.store(buffer, self.expression(base).text, given, aligned=aligned))

    def _barrier(self) -> None:
        self.emit(self.barrier())

    def _evaluate(self, value: Any) -> None:
        if type(value) is not tuple or value[0] == "const":
            return
        if value[0] != "call_extern" or not value[2].startswith("vstore_half"):
            raise NoTextError(f"call of {value[0]} for its effect")
        _, _, _, given, _, (_, (_, buffer, index)) = value
        lanes = self.expression(given).dtype.lanes
        self._store(buffer, given, index if lanes == 1 else ("Ramp", index, 1, lanes))

    # Expressions.

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
        if name in FUNCTIONS:
            x = self.expression(record[1])
            return Text(self.apply(name, [x], x.dtype), x.dtype)
        if name not in _EXPRESSIONS:
            raise NoTextError(f"function {name}")
        return _EXPRESSIONS[name](self, *record[1:])

    def converted(self, x: Text, dtype: Dtype) -> str:
        """Cast, then repeat where a vector is wanted of a scalar."""
        if x.dtype.element != dtype.element:
            kind = dtype.with_lanes(x.dtype.lanes)
            x = Text(self.cast(x, kind), kind)
        if x.dtype.lanes == dtype.lanes:
            return x.text
        if x.dtype.lanes != 1:
            raise NoTextError(f"{x.dtype} as {dtype}")
        return self.broadcast(x, dtype.lanes)

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
        if operator == "-" and (found := _rounded_sum(a, b)):
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
        if name not in FUNCTIONS | CALLS:
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


_STATEMENTS: dict[str, Callable[..., None]] = {
    "AllocBuffer": TextWriter._allocate,
    "Bind": TextWriter._bind,
    "BufferStore": TextWriter._store,
    "DeclBuffer": TextWriter._declare_buffer,
    "Evaluate": TextWriter._evaluate,
    "For": TextWriter._for,
    "IfThenElse": TextWriter._if,
    "SeqStmt": TextWriter._sequence,
    "SharedBarrier": TextWriter._barrier,
    "ThreadExtent": TextWriter._thread_extent,
}
_EXPRESSIONS: dict[str, Callable[..., Text]] = {
    "Broadcast": TextWriter._broadcast,
    "BufferLoad": TextWriter._load,
    "Cast": TextWriter._cast,
    "Not": lambda self, x: self._unary("!", x),
    "Ramp": TextWriter._ramp,
    "Select": TextWriter._select,
    "Shuffle": TextWriter._shuffle,
    "astype": lambda self, value, dtype: self._cast(dtype, value),
    "call_pure_extern": TextWriter._call,
    "const": lambda self, value, dtype: self._constant(value, dtype),
    "neg": lambda self, x: self._unary("-", x),
    "reinterpret": TextWriter._reinterpret,
    "~": lambda self, x: self._unary("~", x),
}
