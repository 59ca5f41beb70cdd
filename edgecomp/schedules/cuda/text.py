"""Records of kernels to CUDA C.

TVM's own CUDA text is not used: where vectors are taken apart it keeps the first text of an equal
load by name, and so reads arrays of sums as they were before they were stored to. A record says all
that is needed: types are known, names are unique, every statement is one of C's.

Vectors are loaded and stored at once where the index is known to be a multiple of their length;
arrays begin at multiples of 64 bytes.
"""

import dataclasses
import functools
import math
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.tirx import Dtype, dtype_of, joined

#: Deeper than any kernel's expressions, as in ``schedules/tirx.py``.
_RECURSION_LIMIT = 10_000
_INT32 = range(-(1 << 31), 1 << 31)
#: Bits of what C makes of smaller types before it computes.
_C_INT_BITS = 32
#: Larger than any vector.
_MULTIPLE_OF_ALL = 1 << 20

_TYPES = {
    "float16": "ec::half",
    "float32": "float",
    "float64": "double",
    "bool": "bool",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
}
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
_FUNCTIONS = frozenset(
    [
        *("abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh"),
        *("erf", "exp", "floor", "log", "nearbyint", "round", "sigmoid", "sin", "sinh"),
        *("sqrt", "tan", "tanh", "trunc"),
    ]
)
_TENSOR_CALLS = (
    *("word", "words2", "words4", "pack"),
    *("mma_s8", "mma_u8", "mma_f16", "mma_bf16", "mma_tf32"),
)
#: Functions that kernels call by the names that OpenCL gives them.
_CALLS = frozenset(
    [
        "mad",
        "mad24",
        "fma",
        "dot",
        "dot4_s8",
        "dot4_u8",
        *_TENSOR_CALLS,
        *(_FUNCTIONS - {"erf", "nearbyint"}),
    ]
)


@dataclasses.dataclass(frozen=True)
class _Text:
    """An expression in C.

    Attributes:
        text: in parentheses where it needs them.
        dtype: as the record's.
    """

    text: str
    dtype: Dtype


@functools.cache
def prelude() -> str:
    """What stands in front of kernels."""
    return (pathlib.Path(__file__).parent / "prelude.cuh").read_text(encoding="utf-8")


def cuda_source(kernels: Sequence[Kernel]) -> str:
    """CUDA C of all kernels, each once, by symbol."""
    functions = {kernel.symbol: kernel for kernel in kernels}
    texts = [kernel_text(functions[symbol]) for symbol in sorted(functions)]
    return "\n".join([prelude(), *texts])


def kernel_text(kernel: Kernel) -> str:
    """One kernel, without the prelude."""
    assert kernel.record is not None
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION_LIMIT))
    try:
        return _Writer(kernel.symbol).function(kernel.record.record)
    finally:
        sys.setrecursionlimit(limit)


class _Writer:
    """One function on its way."""

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._lines: list[str] = []
        self._depth = 1
        #: What stands for variables and buffers, by the identity of their records.
        self._names: dict[int, str] = {}
        #: Powers of two by which integer variables can be divided.
        self._multiples: dict[int, int] = {}
        self._used: dict[str, int] = {}
        self._stored: set[int] = set()
        self._threads = 1

    def function(self, record: tuple[Any, ...]) -> str:
        """The text of a PrimFunc."""
        _, parameters, body = record
        for parameter in parameters:
            self._name(parameter, parameter[1])
        self._statement(body)
        stored = {id(pointer) for pointer in parameters if id(pointer) in self._stored}
        given = ", ".join(self._parameter(p, is_stored=id(p) in stored) for p in parameters)
        head = f'extern "C" __global__ void __launch_bounds__({self._threads})'
        return "\n".join([f"{head} {self._symbol}({given}) {{", *self._lines, "}", ""])

    def _name(self, record: tuple[Any, ...], name: str) -> str:
        """One that no other variable has, and no word of the language."""
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        made = self._names[id(record)] = f"{name}_" if count == 0 else f"{name}_n{count}_"
        return made

    def _parameter(self, record: tuple[Any, ...], *, is_stored: bool) -> str:
        kind, _, dtype = record
        name = self._names[id(record)]
        if kind == "Var":
            return f"{_type(dtype_of(dtype))} {name}"
        const = "" if is_stored else "const "
        return f"{const}{_type(dtype_of(dtype))}* __restrict__ {name}"

    # Statements.

    def _emit(self, line: str) -> None:
        self._lines.append("  " * self._depth + line)

    def _block(self, head: str, body: tuple[Any, ...]) -> None:
        self._emit(f"{head} {{")
        self._depth += 1
        self._statement(body)
        self._depth -= 1
        self._emit("}")

    def _statement(self, record: tuple[Any, ...]) -> None:
        _STATEMENTS[record[0]](self, *record[1:])

    def _thread_extent(self, axis: str, variable: Any, extent: int, body: Any) -> None:
        self._names[id(variable)] = f"static_cast<int>({axis})"
        if axis.startswith("threadIdx"):
            self._threads *= extent
        self._statement(body)

    def _sequence(self, statements: list[Any]) -> None:
        for statement in statements:
            self._statement(statement)

    def _declare(self, buffer: Any, data: Any) -> None:
        self._names[id(buffer)] = self._names[id(data)]

    def _allocate(self, buffer: Any) -> None:
        kind, elements, dtype, name, place = buffer
        shared = "__shared__ " if kind == "decl_scoped_buffer" and place == "shared" else ""
        made = self._name(buffer, name)
        self._emit(f"{shared}{_type(dtype_of(dtype))} {made}[{elements}];")

    def _bind(self, variable: Any, value: Any) -> None:
        kind = dtype_of(variable[2])
        self._multiples[id(variable)] = self._multiple(value)
        text = self._as(value, kind)
        self._emit(f"const {_type(kind)} {self._name(variable, variable[1])} = {text};")

    def _for(self, variable: Any, begin: Any, extent: Any, body: Any) -> None:
        name = self._name(variable, variable[1])
        first = self._expression(begin).text
        count = self._expression(extent).text
        end = count if first == "0" else f"{first} + {count}"
        self._block(f"for (int {name} = {first}; {name} < {end}; ++{name})", body)

    def _if(self, test: Any, then: Any) -> None:
        self._block(f"if ({self._expression(test).text})", then)

    def _store(self, buffer: Any, value: Any, index: Any) -> None:
        self._stored.add(id(buffer[4]) if buffer[0] == "decl_buffer" else id(buffer))
        element, place = dtype_of(buffer[2]), self._names[id(buffer)]
        if type(index) is tuple and index[0] == "Ramp":
            _, base, stride, lanes = index
            if stride != 1:
                raise ValueError(f"a store with stride {stride}")
            wanted = self._as(value, element.with_lanes(lanes))
            function = "store_aligned" if self._is_aligned(base, lanes) else "store"
            at = self._expression(base).text
            self._emit(f"ec::{function}<{lanes}>({place} + {at}, {wanted});")
            return
        at = self._expression(index).text
        self._emit(f"{place}[{at}] = {self._as(value, element)};")

    def _barrier(self) -> None:
        self._emit("__syncthreads();")

    def _evaluate(self, value: Any) -> None:
        if type(value) is tuple and value[0] != "const":
            text = self._expression(value).text
            if text:
                self._emit(f"{text};")

    # Expressions.

    def _expression(self, record: Any) -> _Text:
        if type(record) is not tuple:
            return _number(record)
        name = record[0]
        if name == "Var":
            return _Text(self._names[id(record)], dtype_of(record[2]))
        if name in _ARITHMETIC:
            return self._binary(_ARITHMETIC[name], *record[1:])
        if name in _BITWISE:
            return self._bitwise(_BITWISE[name], *record[1:])
        if name in _COMPARISONS:
            both = self._binary(_COMPARISONS[name], *record[1:])
            return _Text(both.text, dtype_of("bool").with_lanes(both.dtype.lanes))
        if name in _JOINING:
            a, b, dtype = self._alike(*record[1:])
            return _Text(f"ec::{_JOINING[name]}({a}, {b})", dtype)
        if name in _FUNCTIONS:
            x = self._expression(record[1])
            return _Text(f"ec::{name}({x.text})", x.dtype)
        return _EXPRESSIONS[name](self, *record[1:])

    def _as(self, record: Any, dtype: Dtype) -> str:
        """An expression as a type."""
        return _converted(self._expression(record), dtype)

    def _alike(self, a: Any, b: Any) -> tuple[str, str, Dtype]:
        """Two operands of one type."""
        left, right = self._expression(a), self._expression(b)
        dtype = left.dtype
        if dtype is not right.dtype:
            dtype = joined(left.dtype, right.dtype)
        return _converted(left, dtype), _converted(right, dtype), dtype

    def _binary(self, operator: str, a: Any, b: Any) -> _Text:
        left, right, dtype = self._alike(a, b)
        short = _short(left, operator, right) if dtype.name == "int32" else ""
        return _wrapped(short or f"({left} {operator} {right})", operator, dtype)

    def _bitwise(self, operator: str, a: Any, b: Any) -> _Text:
        """A number is of the other operand's type."""
        if type(b) is int and type(a) is tuple:
            left = self._expression(a)
            right = _converted(_number(b), left.dtype)
            return _wrapped(f"({left.text} {operator} {right})", operator, left.dtype)
        if type(a) is int and type(b) is tuple:
            other = self._expression(b)
            first = _converted(_number(a), other.dtype)
            return _wrapped(f"({first} {operator} {other.text})", operator, other.dtype)
        return self._binary(operator, a, b)

    def _unary(self, operator: str, a: Any) -> _Text:
        x = self._expression(a)
        return _wrapped(f"({operator}{x.text})", operator, x.dtype)

    def _cast(self, dtype: str, value: Any) -> _Text:
        kind = dtype_of(dtype)
        return _Text(self._as(value, kind), kind)

    def _reinterpret(self, dtype: str, value: Any) -> _Text:
        kind = dtype_of(dtype)
        return _Text(f"ec::bits<{_type(kind)}>({self._expression(value).text})", kind)

    def _select(self, condition: Any, chosen: Any, other: Any) -> _Text:
        a, b, dtype = self._alike(chosen, other)
        return _Text(f"ec::select({self._expression(condition).text}, {a}, {b})", dtype)

    def _shuffle(self, vectors: list[Any], indices: list[Any]) -> _Text:
        (vector,), (index,) = vectors, indices
        x = self._expression(vector)
        return _Text(f"{x.text}.v[{self._expression(index).text}]", x.dtype.with_lanes(1))

    def _broadcast(self, value: Any, lanes: int) -> _Text:
        x = self._expression(value)
        return _Text(_converted(x, x.dtype.with_lanes(lanes)), x.dtype.with_lanes(lanes))

    def _ramp(self, base: Any, stride: Any, lanes: int) -> _Text:
        a, b, dtype = self._alike(base, stride)
        return _Text(f"ec::ramp<{lanes}>({a}, {b})", dtype.with_lanes(lanes))

    def _load(self, buffer: Any, index: Any) -> _Text:
        element, place = dtype_of(buffer[2]), self._names[id(buffer)]
        if type(index) is tuple and index[0] == "Ramp":
            _, base, stride, lanes = index
            if stride != 1:
                raise ValueError(f"a load with stride {stride}")
            return self._load_vector(place, base, element, lanes)
        return _Text(f"{place}[{self._expression(index).text}]", element)

    def _address(self, place: Any) -> _Text:
        _, buffer, index = place
        at = self._expression(index).text
        return _Text(f"({self._names[id(buffer)]} + {at})", dtype_of("handle"))

    def _load_vector(self, place: str, index: Any, element: Dtype, lanes: int) -> _Text:
        function = "load_aligned" if self._is_aligned(index, lanes) else "load"
        at = self._expression(index).text
        return _Text(f"ec::{function}<{lanes}>({place} + {at})", element.with_lanes(lanes))

    def _call(self, dtype: str, name: str, *arguments: Any) -> _Text:
        kind = dtype_of(dtype)
        if name.startswith("vload"):
            _, (_, (_, buffer, index)) = arguments
            if name.startswith("vload_half"):
                return self._load_half(buffer, index, kind)
            return self._load_vector(
                self._names[id(buffer)], index, dtype_of(buffer[2]), kind.lanes
            )
        if name not in _CALLS:
            raise ValueError(f"function {name}")
        given = ", ".join(self._expression(argument).text for argument in arguments)
        return _Text(f"ec::{name}({given})", kind)

    def _load_half(self, buffer: Any, index: Any, kind: Dtype) -> _Text:
        """float16 as float32."""
        place, half = self._names[id(buffer)], dtype_of(buffer[2])
        if kind.lanes == 1:
            halves = _Text(f"{place}[{self._expression(index).text}]", half)
        else:
            halves = self._load_vector(place, index, half, kind.lanes)
        return _Text(_converted(halves, kind), kind)

    def _effect(self, _dtype: str, name: str, *arguments: Any) -> _Text:
        """A call for what it stores: float32 rounded to float16."""
        if not name.startswith("vstore_half"):
            raise ValueError(f"function {name}")
        value, _, (_, (_, buffer, index)) = arguments
        x = self._expression(value)
        self._store(
            buffer, value, index if x.dtype.lanes == 1 else ("Ramp", index, 1, x.dtype.lanes)
        )
        return _Text("", dtype_of("int32"))

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


def _type(dtype: Dtype) -> str:
    name = _TYPES[dtype.element]
    return name if dtype.lanes == 1 else f"ec::vec<{name}, {dtype.lanes}>"


def _number(value: Any) -> _Text:
    if type(value) is bool:
        return _constant(value, "bool")
    if type(value) is int:
        return _constant(value, "int32" if value in _INT32 else "int64")
    if type(value) is float:
        return _constant(value, "float32")
    raise TypeError(f"{value!r} in the record of a kernel")


def _constant(value: Any, dtype: str) -> _Text:
    kind = dtype_of(dtype)
    if kind.is_bool:
        return _Text("true" if value else "false", kind)
    if dtype == "float32":
        return _Text(_float(float(value)), kind)
    if dtype == "float16":
        return _Text(f"static_cast<ec::half>({_float(float(value))})", kind)
    if kind.is_float:
        return _Text(f"({float(value)!r})", kind)
    suffix = {"uint32": "u", "int64": "ll", "uint64": "ull"}.get(dtype, "")
    least = -(1 << (kind.bits - 1))
    if value == least and dtype in ("int32", "int64"):
        text = f"({value + 1}{suffix} - 1)"  # in C the sign is no part of a number
    else:
        text = f"{value}{suffix}" if value >= 0 else f"({value}{suffix})"
    return _Text(text if kind.bits > 16 else f"static_cast<{_type(kind)}>({text})", kind)


def _float(value: float) -> str:
    """A float32 exactly."""
    exact = np.float32(value)
    if not np.isfinite(exact):
        return f"ec::bits<float>(0x{int(exact.view(np.uint32)):08x}u)"
    text = f"{float(exact):.9g}"
    if not set(".e") & set(text):
        text += ".0"
    return f"{text}f" if math.copysign(1.0, value) > 0 else f"({text}f)"


def _converted(x: _Text, dtype: Dtype) -> str:
    """Cast, then repeat where a vector is wanted of a scalar."""
    text = x.text
    if x.dtype.element != dtype.element:
        text = f"ec::convert<{_TYPES[dtype.element]}>({text})"
    if x.dtype.lanes == dtype.lanes:
        return text
    if x.dtype.lanes != 1:
        raise ValueError(f"{x.dtype} as {dtype}")
    return f"ec::broadcast<{dtype.lanes}>({text})"


def _short(left: str, operator: str, right: str) -> str:
    """An integer sum or product that is one of its operands, or 0; "" for others."""
    if operator == "+" and "0" in (left, right):
        return right if left == "0" else left
    if operator == "*" and "0" in (left, right):
        return "0"
    if operator == "*" and "1" in (left, right):
        return right if left == "1" else left
    return ""


def _wrapped(text: str, operator: str, dtype: Dtype) -> _Text:
    """Arithmetic of types that C widens, as their own again."""
    small = not dtype.is_bool and not dtype.is_float and dtype.bits < _C_INT_BITS
    if small and dtype.lanes == 1 and operator not in ("<", "<=", ">", ">=", "==", "!="):
        text = f"static_cast<{_type(dtype)}>({text})"
    return _Text(text, dtype)


_STATEMENTS: dict[str, Callable[..., None]] = {
    "AllocBuffer": _Writer._allocate,
    "Bind": _Writer._bind,
    "BufferStore": _Writer._store,
    "DeclBuffer": _Writer._declare,
    "Evaluate": _Writer._evaluate,
    "For": _Writer._for,
    "IfThenElse": _Writer._if,
    "SeqStmt": _Writer._sequence,
    "SharedBarrier": _Writer._barrier,
    "ThreadExtent": _Writer._thread_extent,
}
_EXPRESSIONS: dict[str, Callable[..., _Text]] = {
    "Broadcast": _Writer._broadcast,
    "BufferLoad": _Writer._load,
    "Cast": _Writer._cast,
    "Not": lambda self, x: self._unary("!", x),
    "Ramp": _Writer._ramp,
    "Select": _Writer._select,
    "Shuffle": _Writer._shuffle,
    "address_of": _Writer._address,
    "call_extern": _Writer._effect,
    "astype": lambda self, value, dtype: self._cast(dtype, value),
    "call_pure_extern": _Writer._call,
    "const": lambda _self, value, dtype: _constant(value, dtype),
    "neg": lambda self, x: self._unary("-", x),
    "reinterpret": _Writer._reinterpret,
    "~": lambda self, x: self._unary("~", x),
}
