"""Records of kernels to the Metal Shading Language.

Buffers get their index in the order of the kernel's parameters. Vectors are Metal's own; from
places that need not be multiples of their length they are loaded as packed ones, which have the
alignment of an element. Metal's fast arithmetic is switched off where the compiler knows how
(``METAL fp`` pragmas, Metal 3.2); with older ones the app compiles with ``fastMathEnabled = NO``.
"""

import functools
from collections.abc import Sequence
from typing import Any, ClassVar

from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.shader.words import ShaderWords
from edgecomp.schedules.text.c_like import CWriter
from edgecomp.schedules.text.language import Text
from edgecomp.schedules.text.writer import KEPT_TEXTS, written
from edgecomp.schedules.tirx import Dtype, dtype_of

_TYPES = {
    "float32": "float",
    "float16": "half",
    "bool": "bool",
    "int8": "char",
    "uint8": "uchar",
    "int16": "short",
    "uint16": "ushort",
    "int32": "int",
    "uint32": "uint",
    "int64": "long",
    "uint64": "ulong",
}
#: What stands in front of kernels.
HEAD = """\
#include <metal_stdlib>
using namespace metal;
#if __METAL_VERSION__ >= 320
#pragma METAL fp math_mode(safe)
#pragma METAL fp contract(off)
#endif

// Division that rounds down.
static inline int ec_floordiv(int a, int b) {
  int q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
static inline int ec_floormod(int a, int b) { return a - ec_floordiv(a, b) * b; }
"""
#: Functions under another name than the record's; those of ``precise`` also where an app
#: compiles with fast arithmetic.
_PRECISE = frozenset(
    [
        *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "log"),
        *("sin", "sinh", "sqrt", "tan", "tanh"),
    ]
)
_NAMES = {"nearbyint": "rint", "mad": "fma"}


def metal_source(kernels: Sequence[Kernel]) -> str:
    """Metal of all kernels, each once, by symbol."""
    functions = {kernel.symbol: kernel for kernel in kernels}
    texts = [metal_text(functions[symbol]) for symbol in sorted(functions)]
    return "\n".join([HEAD, *texts])


def metal_text(kernel: Kernel) -> str:
    """One kernel, without what stands in front of all.

    Raises:
        NoTextError: Metal lacks a type or a function.
    """
    return _text_and_stored(kernel)[0]


def stored_parameters(kernel: Kernel) -> tuple[bool, ...]:
    """For each parameter whether the kernel stores to it."""
    return _text_and_stored(kernel)[1]


@functools.lru_cache(maxsize=KEPT_TEXTS)
def _text_and_stored(kernel: Kernel) -> tuple[str, tuple[bool, ...]]:
    assert kernel.record is not None
    writer = _MetalWriter(kernel.symbol)
    text = written(writer, kernel)
    stored = tuple(id(parameter) in writer.stored for parameter in kernel.record.record[1])
    return text, stored


class _MetalWriter(ShaderWords, CWriter):
    """One kernel on its way."""

    types: ClassVar = _TYPES
    suffixes: ClassVar = {"uint32": "u", "int64": "l", "uint64": "ul"}
    shared_word = "threadgroup"

    def head(self, parameters: list[tuple[Any, ...]]) -> str:
        """The signature."""
        given = [self._parameter(place, p) for place, p in enumerate(parameters)]
        given += ["uint3 group_id [[threadgroup_position_in_grid]]"]
        given += ["uint3 item_id [[thread_position_in_threadgroup]]"]
        attribute = f"[[kernel, max_total_threads_per_threadgroup({self.items})]]"
        lines = ",\n".join(f"    {each}" for each in given)
        return f"{attribute} void {self.symbol}(\n{lines}) {{\n"

    def _parameter(self, place: int, record: tuple[Any, ...]) -> str:
        const = "" if id(record) in self.stored else "const "
        name = self.type_name(dtype_of(record[2]))
        return f"device {const}{name} *{self.names[id(record)]} [[buffer({place})]]"

    def type_name(self, dtype: Dtype) -> str:
        """``float4``."""
        return self.element_name(dtype) + (str(dtype.lanes) if dtype.lanes > 1 else "")

    def as_type(self, text: str, dtype: Dtype) -> str:
        """By the type's constructor."""
        return self.constructed(text, dtype)

    def thread(self, axis: str) -> str:
        """Of the parameters that Metal fills in."""
        kind, _, letter = axis.partition(".")
        return f"int({'group' if kind == 'blockIdx' else 'item'}_id.{letter})"

    def barrier(self) -> str:
        """For threadgroup memory."""
        return "threadgroup_barrier(mem_flags::mem_threadgroup);"

    def cast(self, x: Text, dtype: Dtype) -> str:
        """By the type's constructor."""
        return self.constructed(x.text, dtype)

    def apply(self, name: str, arguments: list[Text], dtype: Dtype) -> str:
        """Metal's functions have the names of C's."""
        if name == "mad24":
            return self.sum_of_products(arguments)
        if name == "sigmoid":
            return self.sigmoid(arguments[0], "precise::exp")
        given = [argument.text for argument in arguments]
        if name in _PRECISE and dtype.element == "float32":
            return f"precise::{name}({given[0]})"
        return f"{_NAMES.get(name, name)}({', '.join(given)})"

    def reinterpret(self, x: Text, dtype: Dtype) -> str:
        """Metal's own."""
        return f"as_type<{self.type_name(dtype)}>({x.text})"

    def select(self, condition: Text, chosen: str, other: str) -> str:
        """By C's operator, lane by lane by Metal's function."""
        if condition.dtype.lanes == 1:
            return f"({condition.text} ? {chosen} : {other})"
        return f"select({other}, {chosen}, {condition.text})"

    def load(self, buffer: Any, index: str, dtype: Dtype, *, aligned: bool) -> str:
        """At once, as a packed vector where it is not aligned."""
        place = self.names[id(buffer)]
        if dtype.lanes == dtype_of(buffer[2]).lanes:
            return f"{place}[{index}]"
        name = self.type_name(dtype)
        space = self._space(buffer)
        if aligned:
            return f"*({space}const {name} *)({place} + {index})"
        return f"{name}(*({space}const packed_{name} *)({place} + {index}))"

    def store(self, buffer: Any, index: str, value: Text, *, aligned: bool) -> str:
        """At once, as a packed vector where it is not aligned."""
        place = self.names[id(buffer)]
        if value.dtype.lanes == dtype_of(buffer[2]).lanes:
            return f"{place}[{index}] = {value.text};"
        name = self.type_name(value.dtype)
        packed = name if aligned else f"packed_{name}"
        return (
            f"*({self._space(buffer)}{packed} *)({place} + {index}) = {packed}({value.text});"
        )

    def _space(self, buffer: Any) -> str:
        if buffer[0] == "decl_buffer":
            return "device "
        return "threadgroup " if buffer[4] == "shared" else "thread "
