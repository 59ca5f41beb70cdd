"""Records of kernels to TVM's functions."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import edgecomp.tvm_import  # noqa: F401

# isort: split
from tvm import tirx
from tvm.ir import PointerType, PrimType, Range, StringImm

from edgecomp.schedules.tirx import Node

Make = Callable[..., Any]


def replay(node: Node, own: Mapping[str, Make] | None = None) -> Any:
    """The TVM object that a node describes.

    Args:
        node: to make.
        own: what makes some records in another way; ``number`` makes the floats that stand
            as operands.

    What is one object in the record is one object of TVM. Without recursion: a sum of a thousand
    terms is a thousand records deep.
    """
    made: dict[int, Any] = {}
    makers = {**_MAKERS, **(own or {})}
    number = makers.get("number", _same)
    waiting: list[Any] = [node.record]
    while waiting:
        record = waiting[-1]
        if id(record) in made:
            waiting.pop()
            continue
        parts = [part for part in _parts(record) if id(part) not in made]
        if parts:
            waiting += reversed(parts)
            continue
        waiting.pop()
        as_float = _same if record[0] == "const" else number
        arguments = [_argument(part, made, as_float) for part in record[1:]]
        made[id(record)] = makers[record[0]](*arguments)
    return made[id(node.record)]


def _parts(record: tuple[Any, ...]) -> list[Any]:
    """Records that a record is made of."""
    found = []
    for part in record[1:]:
        if type(part) is tuple:
            found.append(part)
        elif type(part) is list:
            found += [each for each in part if type(each) is tuple]
    return found


def _argument(part: Any, made: dict[int, Any], number: Make) -> Any:
    if type(part) is tuple:
        return made[id(part)]
    if type(part) is list:
        return [_argument(each, made, number) for each in part]
    return number(part) if type(part) is float else part


def _same(part: Any) -> Any:
    return part


def _decl_buffer(elements: int, dtype: str, name: str, data: Any) -> Any:
    if data is None:
        return tirx.decl_buffer((elements,), dtype, name)
    return tirx.decl_buffer((elements,), dtype, name, data=data)


def _thread_extent(axis: str, variable: Any, extent: int, body: Any) -> Any:
    threads = tirx.IterVar(Range(0, extent), variable, tirx.IterVar.ThreadIndex, axis)
    return tirx.AttrStmt(threads, "thread_extent", tirx.const(extent, "int32"), body)


def _shared_barrier() -> Any:
    return tirx.Evaluate(tirx.call_intrin("int32", "tirx.tvm_storage_sync", "shared"))


def _import_llvm(text: str, body: Any) -> Any:
    return tirx.AttrStmt(tirx.const(0, "int32"), "pragma_import_llvm", StringImm(text), body)


#: Statements and the few expressions that are written in another way than TVM's.
_OWN: dict[str, Make] = {
    "AllocBuffer": tirx.AllocBuffer,
    "Bind": tirx.stmt.Bind,
    "BufferLoad": lambda buffer, index: tirx.BufferLoad(buffer, [index]),
    "BufferStore": lambda buffer, value, index: tirx.BufferStore(buffer, value, [index]),
    "DeclBuffer": lambda buffer, data: tirx.stmt.DeclBuffer(buffer, data=data),
    "For": lambda variable, begin, extent, body: tirx.For(
        variable, begin, extent, tirx.ForKind.SERIAL, body
    ),
    "GlobalPointerVar": lambda name, dtype: tirx.Var(
        name, PointerType(PrimType(dtype), "global")
    ),
    "IfThenElse": lambda test, then: tirx.IfThenElse(test, then, None),
    "ImageVar": lambda name, dtype: tirx.Var(
        name, PointerType(PrimType(dtype), "global.texture")
    ),
    "ImportLlvm": _import_llvm,
    "PointerVar": lambda name, dtype: tirx.Var(name, PointerType(PrimType(dtype))),
    "PrimFunc": lambda parameters, body: tirx.PrimFunc(parameters, body).with_attr(
        "tirx.noalias", True
    ),
    "SharedBarrier": _shared_barrier,
    "ThreadExtent": _thread_extent,
    "astype": lambda value, dtype: value.astype(dtype),
    "decl_buffer": _decl_buffer,
    "decl_scoped_buffer": lambda elements, dtype, name, scope: tirx.decl_buffer(
        (elements,), dtype, name, scope=scope
    ),
    "neg": operator.neg,
    "~": operator.invert,
}
_OPERATORS: dict[str, Make] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
    "//": operator.floordiv, "%": operator.mod, "&": operator.and_, "|": operator.or_,
    "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift, "<": operator.lt,
    "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
    "!=": operator.ne,
}  # fmt: skip
#: Functions and constructors that take what the record holds.
_SAME = (
    "And", "Broadcast", "Cast", "EQ", "Evaluate", "GE", "GT", "LE", "LT", "Max", "Min", "NE",
    "Not", "Or", "Ramp", "Select", "SeqStmt", "Shuffle", "Var", "abs", "acos", "acosh",
    "address_of", "asin", "asinh", "atan", "atanh", "bitwise_and", "bitwise_or", "bitwise_xor",
    "call_extern", "call_llvm_intrin", "call_llvm_pure_intrin", "call_pure_extern", "ceil",
    "const", "cos", "cosh", "erf", "exp", "floor", "floordiv", "floormod", "log", "max", "min",
    "nearbyint", "pow", "reinterpret", "round", "sigmoid", "sin", "sinh", "sqrt", "tan", "tanh",
    "trunc", "truncdiv", "truncmod",
)  # fmt: skip
_MAKERS: dict[str, Make] = {
    **{name: getattr(tirx, name) for name in _SAME},
    **_OPERATORS,
    **_OWN,
}
