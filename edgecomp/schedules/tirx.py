"""TVM's expressions and statements as records: what kernels are written in.

The names, arguments and operators are those of ``tvm.tirx``, as far as kernels use them. Nothing
is made of TVM here: an expression remembers how it was written, as nested tuples
``(name, arguments...)`` of other records, numbers and texts. That is a hundred times cheaper than
the same objects of TVM, and says as much: a kernel that was compiled before is found by the hash
of its record (``digest``), without TVM being imported. ``replay.py`` makes the TVM function of a
record whose object has to be compiled.

Types of results follow TVM's rules; replaying a record checks them.
"""

import contextlib
import functools
import hashlib
import io
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, Self

#: Deeper than any kernel's expressions, and not too deep for the stack of a thread.
_RECURSION_LIMIT = 10_000
#: Of the records' bytes: another one is another digest.
_PICKLE_PROTOCOL = 5
_INT32 = range(-(1 << 31), 1 << 31)


class Dtype:
    """Type of a scalar or a vector; there is one object of each.

    Attributes:
        name: ``float32``, ``float32x8``, ``bool``, ``handle``.
        element: name of the scalar's type.
        lanes: 1 for a scalar.
        is_bool, is_float: of the elements.
    """

    __slots__ = ("_others", "element", "is_bool", "is_float", "lanes", "name")

    def __init__(self, name: str) -> None:
        element, _, lanes = name.partition("x")
        self.name, self.element, self.lanes = name, element, int(lanes or 1)
        self.is_bool, self.is_float = element == "bool", "float" in element
        self._others: dict[int, Dtype] = {}

    @property
    def bits(self) -> int:
        """Of an element that is a number."""
        return int(self.element.lstrip("abcdefghijklmnopqrstuvwxyz"))

    def with_lanes(self, lanes: int) -> "Dtype":
        """The same of another number of lanes."""
        found = self._others.get(lanes)
        if found is None:
            name = self.element if lanes == 1 else f"{self.element}x{lanes}"
            found = self._others[lanes] = dtype_of(name)
        return found

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return self.name


#: Found by name, never by type.
_dtypes: dict[str | Dtype, Dtype] = {}


def dtype_of(name: "str | Dtype") -> Dtype:
    """The object of a name."""
    found = _dtypes.get(name)
    if found is not None:
        return found
    if isinstance(name, Dtype):
        return name
    found = _dtypes[name] = Dtype(sys.intern(str(name)))
    return found


_BOOL, _FLOAT32, _INT = dtype_of("bool"), dtype_of("float32"), dtype_of("int32")
_LONG, _HANDLE = dtype_of("int64"), dtype_of("handle")


class Node:
    """A statement, a buffer or an expression.

    Attributes:
        record: how it was written.
    """

    __slots__ = ("record",)

    def __init__(self, record: tuple[Any, ...]) -> None:
        self.record = record


class Buffer(Node):
    """Memory that expressions load from."""

    __slots__ = ("dtype",)

    def __init__(self, record: tuple[Any, ...], dtype: Dtype) -> None:
        self.record = record
        self.dtype = dtype


class Expr(Node):
    """A value."""

    __slots__ = ("dtype",)
    # Numbers of numpy then leave operators to this class.
    __array_ufunc__ = None

    def __init__(self, record: tuple[Any, ...], dtype: Dtype) -> None:
        self.record = record
        self.dtype = dtype

    @property
    def ty(self) -> Self:
        """What has the type: TVM's way to it is ``x.ty.dtype``."""
        return self

    def astype(self, dtype: str | Dtype) -> "Expr":
        """Cast."""
        wanted = dtype_of(dtype)
        return Expr(("astype", self.record, wanted.name), wanted)

    def __add__(self, other: Any) -> "Expr":
        return _binary("+", self, other)

    def __radd__(self, other: Any) -> "Expr":
        return _binary("+", other, self)

    def __sub__(self, other: Any) -> "Expr":
        return _binary("-", self, other)

    def __rsub__(self, other: Any) -> "Expr":
        return _binary("-", other, self)

    def __mul__(self, other: Any) -> "Expr":
        return _binary("*", self, other)

    def __rmul__(self, other: Any) -> "Expr":
        return _binary("*", other, self)

    def __truediv__(self, other: Any) -> "Expr":
        return _binary("/", self, other)

    def __rtruediv__(self, other: Any) -> "Expr":
        return _binary("/", other, self)

    def __floordiv__(self, other: Any) -> "Expr":
        return _binary("//", self, other)

    def __mod__(self, other: Any) -> "Expr":
        return _binary("%", self, other)

    def __and__(self, other: Any) -> "Expr":
        return _bitwise("&", self, other)

    def __or__(self, other: Any) -> "Expr":
        return _bitwise("|", self, other)

    def __xor__(self, other: Any) -> "Expr":
        return _bitwise("^", self, other)

    def __lshift__(self, other: Any) -> "Expr":
        return _bitwise("<<", self, other)

    def __rshift__(self, other: Any) -> "Expr":
        return _bitwise(">>", self, other)

    def __neg__(self) -> "Expr":
        return Expr(("neg", self.record), self.dtype)

    def __invert__(self) -> "Expr":
        return Expr(("~", self.record), self.dtype)

    def __lt__(self, other: Any) -> "Expr":
        return _comparison("<", self, other)

    def __le__(self, other: Any) -> "Expr":
        return _comparison("<=", self, other)

    def __gt__(self, other: Any) -> "Expr":
        return _comparison(">", self, other)

    def __ge__(self, other: Any) -> "Expr":
        return _comparison(">=", self, other)

    def __eq__(self, other: object) -> "Expr":  # type: ignore[override]
        return _comparison("==", self, other)

    def __ne__(self, other: object) -> "Expr":  # type: ignore[override]
        return _comparison("!=", self, other)

    __hash__ = object.__hash__

    def __bool__(self) -> NoReturn:
        raise TypeError("an expression is neither true nor false while its kernel is built")


def _operand(value: Any) -> tuple[Any, Dtype]:
    """Record and type of an expression or a number."""
    if type(value) is Expr:
        return value.record, value.dtype
    if type(value) is int:
        return value, _INT if value in _INT32 else _LONG
    if type(value) is float:
        return value, _FLOAT32
    if type(value) is bool:
        return value, _BOOL
    raise TypeError(f"{value!r} of {type(value).__name__} is no operand of a kernel")


def _binary(name: str, a: Any, b: Any) -> Expr:
    """Operands are made alike, as TVM does."""
    a_record, a_dtype = (a.record, a.dtype) if type(a) is Expr else _operand(a)
    b_record, b_dtype = (b.record, b.dtype) if type(b) is Expr else _operand(b)
    dtype = a_dtype if a_dtype is b_dtype else joined(a_dtype, b_dtype)
    return Expr((name, a_record, b_record), dtype)


def _bitwise(name: str, a: Any, b: Any) -> Expr:
    """As ``_binary``, but a number is of the other operand's type."""
    if type(b) is int and type(a) is Expr:
        return Expr((name, a.record, b), a.dtype)
    if type(a) is int and type(b) is Expr:
        return Expr((name, a, b.record), b.dtype)
    return _binary(name, a, b)


def _comparison(name: str, a: Any, b: Any) -> Expr:
    (a_record, a_dtype), (b_record, b_dtype) = _operand(a), _operand(b)
    lanes = a_dtype.lanes if a_dtype.lanes > 1 else b_dtype.lanes
    return Expr((name, a_record, b_record), _BOOL.with_lanes(lanes))


@functools.cache
def joined(a: Dtype, b: Dtype) -> Dtype:
    """Type of a sum of two types."""
    if a.lanes != b.lanes and 1 not in (a.lanes, b.lanes):
        raise TypeError(f"{a} and {b} have different lanes")
    lanes = a.lanes if a.lanes > 1 else b.lanes
    if a.is_bool or b.is_bool:
        widest = b if a.is_bool else a
    elif a.is_float != b.is_float:
        widest = a if a.is_float else b
    elif a.bits == b.bits:
        widest = b if b.element.startswith("u") else a
    else:
        widest = a if a.bits > b.bits else b
    return widest.with_lanes(lanes)


# As ``schedules.builder.Expr``: schedules put numbers in the place of expressions.
_Binary = Callable[[Any, Any], Any]


def _binary_function(name: str) -> _Binary:
    return lambda a, b: _binary(name, a, b)


def _bitwise_function(name: str) -> _Binary:
    return lambda a, b: _bitwise(name, a, b)


def _comparison_function(name: str) -> _Binary:
    return lambda a, b: _comparison(name, a, b)


def _unary_function(name: str) -> Callable[[Any], Any]:
    return lambda x: Expr((name, x.record), x.dtype)


min = _binary_function("min")  # noqa: A001 - TVM's names
max = _binary_function("max")  # noqa: A001
pow = _binary_function("pow")  # noqa: A001
Min, Max = _binary_function("Min"), _binary_function("Max")
truncdiv, floordiv = _binary_function("truncdiv"), _binary_function("floordiv")
truncmod, floormod = _binary_function("truncmod"), _binary_function("floormod")
bitwise_and, bitwise_or = _bitwise_function("bitwise_and"), _bitwise_function("bitwise_or")
bitwise_xor = _bitwise_function("bitwise_xor")

EQ, NE = _comparison_function("EQ"), _comparison_function("NE")
LT, LE = _comparison_function("LT"), _comparison_function("LE")
GT, GE = _comparison_function("GT"), _comparison_function("GE")
And, Or = _comparison_function("And"), _comparison_function("Or")
Not = _unary_function("Not")

abs, round = _unary_function("abs"), _unary_function("round")  # noqa: A001
ceil, floor, trunc = (
    _unary_function("ceil"),
    _unary_function("floor"),
    _unary_function("trunc"),
)
nearbyint, sqrt = _unary_function("nearbyint"), _unary_function("sqrt")
exp, log, erf = _unary_function("exp"), _unary_function("log"), _unary_function("erf")
sigmoid, tanh = _unary_function("sigmoid"), _unary_function("tanh")
sin, cos, tan = _unary_function("sin"), _unary_function("cos"), _unary_function("tan")
asin, acos, atan = _unary_function("asin"), _unary_function("acos"), _unary_function("atan")
sinh, cosh = _unary_function("sinh"), _unary_function("cosh")
asinh, acosh, atanh = (_unary_function(name) for name in ("asinh", "acosh", "atanh"))


def const(value: Any, dtype: str | Dtype) -> Expr:
    """A number of a type."""
    kind = dtype_of(dtype)
    number = bool(value) if kind.is_bool else float(value) if kind.is_float else int(value)
    if number != value and value == value:  # NaN is not equal to itself
        raise TypeError(f"{value} is no {kind}")
    return Expr(("const", number, kind.name), kind)


def Var(name: str, dtype: str) -> Expr:  # noqa: N802 - TVM's name
    """A variable: another one for each call."""
    kind = dtype_of(dtype)
    return Expr(("Var", sys.intern(name), kind.name), kind)


def PointerVar(name: str, dtype: str) -> Expr:  # noqa: N802 - beside the others
    """A variable of type pointer to ``dtype``."""
    return Expr(("PointerVar", sys.intern(name), dtype_of(dtype).name), _HANDLE)


def GlobalPointerVar(name: str, dtype: str) -> Expr:  # noqa: N802 - beside the others
    """A variable of type pointer to ``dtype`` in a device's global memory."""
    return Expr(("GlobalPointerVar", sys.intern(name), dtype_of(dtype).name), _HANDLE)


def ImageVar(name: str, dtype: str) -> Expr:  # noqa: N802 - beside the others
    """A variable that is an image of a device, with elements of ``dtype``."""
    return Expr(("ImageVar", sys.intern(name), dtype_of(dtype).name), _HANDLE)


def Cast(dtype: str | Dtype, value: Expr) -> Expr:  # noqa: N802
    """A value as another type."""
    wanted = dtype_of(dtype)
    return Expr(("Cast", wanted.name, _operand(value)[0]), wanted)


def reinterpret(dtype: str | Dtype, value: Expr) -> Expr:
    """The same bits as another type."""
    wanted = dtype_of(dtype)
    return Expr(("reinterpret", wanted.name, value.record), wanted)


def Select(condition: Expr, chosen: Any, other: Any) -> Expr:  # noqa: N802
    """One of two values, both computed."""
    (record, dtype), (other_record, other_dtype) = _operand(chosen), _operand(other)
    if dtype is not other_dtype:
        raise TypeError(f"Select of {dtype} and {other_dtype}")
    return Expr(("Select", condition.record, record, other_record), dtype)


def Shuffle(vectors: Sequence[Expr], indices: Sequence[Any]) -> Expr:  # noqa: N802
    """Lanes of vectors, counted through all of them."""
    dtype = vectors[0].dtype.with_lanes(len(indices))
    places = [_operand(index)[0] for index in indices]
    return Expr(("Shuffle", [vector.record for vector in vectors], places), dtype)


def Ramp(base: Any, stride: Any, lanes: int) -> Expr:  # noqa: N802
    """``base``, ``base + stride`` and so on."""
    record, dtype = _operand(base)
    return Expr(("Ramp", record, _operand(stride)[0], lanes), dtype.with_lanes(lanes))


def Broadcast(value: Any, lanes: int) -> Expr:  # noqa: N802
    """A scalar in every lane."""
    record, dtype = _operand(value)
    return Expr(("Broadcast", record, lanes), dtype.with_lanes(lanes))


def BufferLoad(buffer: Buffer, indices: Sequence[Any]) -> Expr:  # noqa: N802
    """Elements of a buffer."""
    (index,) = indices
    record, dtype = _operand(index)
    loaded = buffer.dtype.with_lanes(buffer.dtype.lanes * dtype.lanes)
    return Expr(("BufferLoad", buffer.record, record), loaded)


def address_of(place: Expr) -> Expr:
    """Address of what a load would load."""
    return Expr(("address_of", place.record), _HANDLE)


def _call_function(kind: str) -> Callable[..., Expr]:
    def call(dtype: str | Dtype, name: str, *arguments: Any) -> Expr:
        wanted = dtype_of(dtype)
        records = [_operand(argument)[0] for argument in arguments]
        return Expr((kind, wanted.name, sys.intern(name), *records), wanted)

    return call


call_extern = _call_function("call_extern")
call_pure_extern = _call_function("call_pure_extern")
call_llvm_intrin = _call_function("call_llvm_intrin")
call_llvm_pure_intrin = _call_function("call_llvm_pure_intrin")


def decl_buffer(
    elements: int, dtype: str | Dtype, name: str, data: Expr | None = None
) -> Buffer:
    """A flat buffer, at a pointer where one is given."""
    kind = dtype_of(dtype)
    pointer = None if data is None else data.record
    return Buffer(("decl_buffer", int(elements), kind.name, sys.intern(name), pointer), kind)


def decl_scoped_buffer(elements: int, dtype: str | Dtype, name: str, scope: str) -> Buffer:
    """A flat buffer in a kind of a device's memory: ``local`` (one item's own) or ``shared``."""
    kind = dtype_of(dtype)
    names = sys.intern(name), sys.intern(scope)
    return Buffer(("decl_scoped_buffer", int(elements), kind.name, *names), kind)


def DeclBuffer(buffer: Buffer, data: Expr) -> Node:  # noqa: N802
    """Statement: the buffer is at a pointer."""
    return Node(("DeclBuffer", buffer.record, data.record))


def AllocBuffer(buffer: Buffer) -> Node:  # noqa: N802
    """Statement: memory for a buffer."""
    return Node(("AllocBuffer", buffer.record))


def Bind(variable: Expr, value: Any) -> Node:  # noqa: N802
    """Statement: the variable is this value."""
    return Node(("Bind", variable.record, _operand(value)[0]))


def BufferStore(buffer: Buffer, value: Any, indices: Sequence[Any]) -> Node:  # noqa: N802
    """Statement: store at an index."""
    (index,) = indices
    return Node(("BufferStore", buffer.record, _operand(value)[0], _operand(index)[0]))


def Evaluate(value: Any) -> Node:  # noqa: N802
    """Statement: evaluate for the effect."""
    return Node(("Evaluate", _operand(value)[0]))


def For(variable: Expr, begin: Any, extent: Any, body: Node) -> Node:  # noqa: N802
    """Statement: a serial loop over [begin, begin + extent)."""
    limits = (_operand(begin)[0], _operand(extent)[0])
    return Node(("For", variable.record, *limits, body.record))


def IfThenElse(test: Expr, then: Node) -> Node:  # noqa: N802
    """Statement: run ``then`` where ``test`` holds."""
    return Node(("IfThenElse", test.record, then.record))


def SeqStmt(statements: Sequence[Node]) -> Node:  # noqa: N802
    """Statement: one after the other."""
    return Node(("SeqStmt", [statement.record for statement in statements]))


def ThreadExtent(axis: str, variable: Expr, extent: int, body: Node) -> Node:  # noqa: N802
    """Statement: ``body`` for each value of a variable in [0, extent), by threads of a device.

    Args:
        axis: ``blockIdx.x`` counts groups of threads, ``threadIdx.x`` those of a group.
        variable: int32.
        extent: how many.
        body: of each thread.
    """
    return Node(("ThreadExtent", sys.intern(axis), variable.record, int(extent), body.record))


def SharedBarrier() -> Node:  # noqa: N802
    """Statement: all threads of a group see each other's stores to shared memory."""
    return Node(("SharedBarrier",))


def ImportLlvm(text: str, body: Node) -> Node:  # noqa: N802 - beside the others
    """Statement: ``body`` with functions that are given as LLVM's text."""
    return Node(("ImportLlvm", text, body.record))


def PrimFunc(parameters: Sequence[Expr], body: Node) -> Node:  # noqa: N802
    """A function whose pointers do not alias."""
    return Node(("PrimFunc", [parameter.record for parameter in parameters], body.record))


class _RecordPickler(pickle.Pickler):
    """Writes tuples, lists, numbers and texts, and nothing whose bytes could vary."""

    def reducer_override(self, value: object) -> NoReturn:
        raise TypeError(f"{value!r} of {type(value).__name__} in the record of a kernel")


def digest(node: Node) -> str:
    """SHA-256 of all that a node was written with, in hexadecimal.

    Variables and buffers are told apart, and each use is that of its own.
    """
    stream = io.BytesIO()
    with recursion_limit():
        _RecordPickler(stream, _PICKLE_PROTOCOL).dump(node.record)
    return hashlib.sha256(stream.getbuffer()).hexdigest()


@contextlib.contextmanager
def recursion_limit() -> Iterator[None]:
    """Lets records of any kernel be pickled."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(_RECURSION_LIMIT)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
