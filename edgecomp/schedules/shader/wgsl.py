"""Records of kernels to WGSL, the language of WebGPU.

WGSL has numbers of 32 bits, and of 16 where a device has ``shader-f16``. Integers of 8 and 16
bits are computed in 32 and lie in words; where a kernel stores a part of a word, the words are
atomic. Integers of 64 bits are pairs, enough of them for indices and copies.

Two bindings of one dispatch that may be written must not overlap: parameters that are one tensor
in a call share a binding (``Use.bindings``).
"""

import dataclasses
import functools
import math
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.shader.wgsl_storage import Layout, Storage, words_of
from edgecomp.schedules.shader.words import ShaderWords
from edgecomp.schedules.text.language import NoTextError, Text
from edgecomp.schedules.text.writer import KEPT_TEXTS, TextWriter, written
from edgecomp.schedules.tirx import Dtype, dtype_of

_WORD_BITS, _WIDE_BITS = 32, 64
_LANES = 4
_NAMES = {"nearbyint": "round", "mad": "fma"}


@dataclasses.dataclass(frozen=True, order=True)
class Use:
    """A kernel as calls use it.

    Attributes:
        entry: name of the entry point.
        symbol: of the kernel.
        bindings: number of the binding of each parameter; those that are one tensor share one.
        read_only: numbers of bindings to memory that no kernel of the dispatch writes.
    """

    entry: str
    symbol: str
    bindings: tuple[int, ...]
    read_only: tuple[int, ...] = ()


@functools.cache
def head() -> str:
    """What stands in front of kernels."""
    return (pathlib.Path(__file__).parent / "head.wgsl").read_text(encoding="utf-8")


def wgsl_source(kernels: Sequence[Kernel], uses: Iterable[Use]) -> str:
    """WGSL of all kernels as they are used, each use once."""
    functions = {kernel.symbol: kernel for kernel in kernels}
    texts = [wgsl_text(functions[use.symbol], use) for use in sorted(set(uses))]
    enabled = "enable f16;\n" if any(re.search(r"\bf16\b", text) for text in texts) else ""
    return enabled + "\n".join([head(), *texts])


def plain_use(kernel: Kernel) -> Use:
    """Every parameter by itself, all of them written."""
    assert kernel.record is not None
    symbol = kernel.symbol
    return Use(symbol, symbol, tuple(range(len(kernel.record.record[1]))))


def wgsl_text(kernel: Kernel, use: Use | None = None) -> str:
    """One kernel, without what stands in front of all.

    Raises:
        NoTextError: WGSL lacks a type or a function.
    """
    return _text(kernel, use or plain_use(kernel))


@functools.lru_cache(maxsize=KEPT_TEXTS)
def _text(kernel: Kernel, use: Use) -> str:
    first = _WgslWriter(use, {})
    written(first, kernel)  # says how each binding is used
    return written(_WgslWriter(use, first.layouts()), kernel)


class _WgslWriter(ShaderWords, TextWriter):
    """One kernel on its way.

    Args:
        use: of the kernel.
        layouts: of bindings; while they are not known, any will do.
    """

    def __init__(self, use: Use, layouts: dict[int, Layout]) -> None:
        super().__init__(use.entry)
        self._use, self._layouts = use, layouts
        self._suffix = use.entry.removeprefix("ec_gpu_")
        #: In front of the function.
        self._globals: list[str] = []
        self._storages: dict[int, Storage] = {}
        self._by_pointer: dict[int, Storage] = {}
        self._sizes = {"x": 1, "y": 1, "z": 1}

    def layouts(self) -> dict[int, Layout]:
        """How memory behind each binding is best declared, once all is written."""
        return {number: storage.best_layout() for number, storage in self._storages.items()}

    def function(self, record: tuple[Any, ...]) -> str:
        """The text of a PrimFunc."""
        for parameter, number in zip(record[1], self._use.bindings, strict=True):
            element = dtype_of(parameter[2])
            _element(element)  # refuses what WGSL lacks
            storage = self._storages.get(number)
            if storage is None:
                name = f"{parameter[1]}_{self._suffix}"
                layout = self._layouts.get(number, Layout.SCALARS)
                storage = self._storages[number] = Storage(name, element, layout)
            elif storage.element is not element:
                raise NoTextError(f"one tensor as {storage.element} and {element}")
            self._by_pointer[id(parameter)] = storage
        return super().function(record)

    def head(self, parameters: list[tuple[Any, ...]]) -> str:
        """Bindings, what helps with them, shared arrays and the signature."""
        del parameters
        lines = []
        for number, storage in sorted(self._storages.items()):
            mode = "read" if number in self._use.read_only else "read_write"
            declared = f"{storage.name}: {storage.declared_type()}"
            lines.append(f"@group(0) @binding({number}) var<storage, {mode}> {declared};")
        for storage in self._storages.values():
            lines += storage.helper_texts()
        x, y, z = self._sizes.values()
        lines += [
            *self._globals,
            f"@compute @workgroup_size({x}, {y}, {z})",
            f"fn {self.symbol}(@builtin(workgroup_id) group_id: vec3<u32>,",
            "    @builtin(local_invocation_id) item_id: vec3<u32>) {",
        ]
        # A binding that the function does not name is none.
        lines += [f"  _ = &{s.name};" for s in self._storages.values() if not s.is_used]
        return "".join(f"{line}\n" for line in lines)

    def type_name(self, dtype: Dtype) -> str:
        """``vec4<f32>``; small integers are those of 32 bits."""
        name = _element(dtype)
        if _is_wide(dtype):
            if dtype.lanes > 1:
                raise NoTextError(f"vectors of {dtype.element}")
            return "vec2<u32>"
        return name if dtype.lanes == 1 else f"vec{dtype.lanes}<{name}>"

    def thread(self, axis: str) -> str:
        """Of what WebGPU fills in."""
        kind, _, letter = axis.partition(".")
        return f"i32({'group' if kind == 'blockIdx' else 'item'}_id.{letter})"

    def thread_items(self, axis: str, extent: int) -> None:
        """Part of the function's attributes."""
        super().thread_items(axis, extent)
        self._sizes[axis[-1]] = extent

    def declare_array(
        self, record: tuple[Any, ...], name: str, dtype: Dtype, elements: int, *, shared: bool
    ) -> None:
        """In front of the function where it is shared."""
        kind = f"array<{self.type_name(dtype)}, {elements}>"
        if not shared:
            self.emit(f"var {name}: {kind};")
            return
        made = self.names[id(record)] = f"{name}{self._suffix}"
        self._globals.append(f"var<workgroup> {made}: {kind};")

    def declare(self, name: str, dtype: Dtype, value: str) -> str:
        """A value that does not change."""
        return f"let {name}: {self.type_name(dtype)} = {value};"

    def loop_head(self, name: str, first: str, end: str) -> str:
        """As in C."""
        return f"for (var {name}: i32 = {first}; {name} < {end}; {name} = {name} + 1)"

    def barrier(self) -> str:
        """For workgroup memory."""
        return "workgroupBarrier();"

    # Numbers.

    def constant(self, value: Any, dtype: Dtype) -> str:
        """A literal; of int32 one that has no type of its own."""
        if dtype.is_bool:
            return "true" if value else "false"
        if dtype.is_float:
            return _float(float(value), dtype)
        if _is_wide(dtype):
            bits = int(value) & ((1 << _WIDE_BITS) - 1)
            return f"vec2<u32>({bits & 0xFFFFFFFF}u, {bits >> _WORD_BITS}u)"
        if _element(dtype) == "u32":
            return f"{value}u"
        if value == -(1 << 31):
            return f"i32({value})"
        return f"{value}" if value >= 0 else f"({value})"

    def cast(self, x: Text, dtype: Dtype) -> str:
        """By the type's constructor; what is too large for a small integer wraps."""
        source = x.dtype
        if _is_wide(source) or _is_wide(dtype):
            return self._wide_cast(x, dtype)
        if dtype.is_bool:
            zero = self.constant(0, source.with_lanes(1))
            zero = zero if source.lanes == 1 else f"{self.type_name(source)}({zero})"
            return f"({x.text} != {zero})"
        text = x.text
        if dtype.element == "float16" and source.element == "float32":
            return _narrowed(text, dtype)
        if _element(source) != _element(dtype):
            text = f"{self.type_name(dtype)}({text})"
        return text if _holds(dtype, source) else self._wrapped(text, dtype)

    def _wide_cast(self, x: Text, dtype: Dtype) -> str:
        source = x.dtype
        if source.lanes > 1 or source.is_float or dtype.is_float or dtype.is_bool:
            raise NoTextError(f"{source} as {dtype}")
        if not _is_wide(dtype):
            low = f"{x.text}.x"
            low = low if _element(dtype) == "u32" else f"bitcast<i32>({low})"
            return self._wrapped(low, dtype)
        if _is_wide(source):
            return x.text
        if source.is_bool or _element(source) == "u32":
            return f"vec2<u32>(u32({x.text}), 0u)"
        return f"ec_wide({x.text})"

    # Arithmetic.

    def operation(self, left: str, operator: str, right: str, dtype: Dtype) -> str:
        """As in C; shifts are by unsigned numbers, small integers wrap as their own."""
        if _is_wide(dtype) and operator not in ("&", "|", "^"):
            name = {"+": "add", "-": "sub", "*": "mul"}.get(operator)
            if name is None:
                raise NoTextError(f"'{operator}' of {dtype}")
            return f"ec_wide_{name}({left}, {right})"
        if operator in ("<<", ">>") and _element(dtype) != "u32":
            counts = "u32" if dtype.lanes == 1 else f"vec{dtype.lanes}<u32>"
            right = f"{counts}({right})"
        return self._wrapped(f"({left} {operator} {right})", dtype)

    def comparison(self, left: str, operator: str, right: str, dtype: Dtype) -> str:
        """As in C, lane by lane."""
        if _is_wide(dtype):
            return _wide_comparison(left, operator, right)
        if dtype.lanes > 1:
            operator = {"&&": "&", "||": "|"}.get(operator, operator)
        return f"({left} {operator} {right})"

    def join(self, name: str, left: str, right: str, dtype: Dtype) -> str:
        """WGSL's own, or that in front of the kernels."""
        if not _is_wide(dtype) or name not in ("min", "max"):
            return super().join(name, left, right, dtype)
        if dtype.element == "uint64":
            raise NoTextError(f"{name} of {dtype}")
        return f"ec_wide_{name}({left}, {right})"

    def unary(self, operator: str, x: Text) -> str:
        """As in C."""
        if _is_wide(x.dtype) or (operator == "-" and _element(x.dtype) == "u32"):
            raise NoTextError(f"'{operator}' of {x.dtype}")
        return self._wrapped(f"({operator}{x.text})", x.dtype)

    def apply(self, name: str, arguments: list[Text], dtype: Dtype) -> str:
        """WGSL's functions have the names of C's."""
        if _is_wide(dtype):
            raise NoTextError(f"function {name} of {dtype}")
        if name == "mad24":
            return self.sum_of_products(arguments)
        if name == "sigmoid":
            return self.sigmoid(arguments[0], "exp")
        given = (argument.text for argument in arguments)
        return f"{_NAMES.get(name, name)}({', '.join(given)})"

    def reinterpret(self, x: Text, dtype: Dtype) -> str:
        """The same bits, of as many."""
        if _is_wide(dtype) and _is_wide(x.dtype):
            return x.text
        if not x.dtype.is_float and not dtype.is_float and dtype.bits < _WORD_BITS:
            return self.cast(x, dtype)
        if x.dtype.bits != _WORD_BITS or dtype.bits != _WORD_BITS:
            raise NoTextError(f"the bits of {x.dtype} as {dtype}")
        return f"bitcast<{self.type_name(dtype)}>({x.text})"

    def select(self, condition: Text, chosen: str, other: str) -> str:
        """WGSL's function."""
        return f"select({other}, {chosen}, {condition.text})"

    def _wrapped(self, text: str, dtype: Dtype) -> str:
        """Arithmetic of small integers in 32 bits, as their own again."""
        if dtype.is_bool or dtype.is_float or dtype.bits >= _WORD_BITS:
            return text
        return f"extractBits({text}, 0u, {dtype.bits}u)"

    # Memory.

    def load(self, buffer: Any, index: str, dtype: Dtype, *, aligned: bool) -> str:
        """From a binding or an array."""
        storage = self._storage(buffer)
        if storage is None:
            place = self.names[id(buffer)]
            if dtype.lanes == dtype_of(buffer[2]).lanes:
                return f"{place}[{index}]"
            lanes = ", ".join(f"{place}[{index} + {k}]" for k in range(dtype.lanes))
            return f"{self.type_name(dtype)}({lanes})"
        text = storage.load(index, dtype.lanes, aligned=aligned)
        if words_of(storage.element):
            signed = _element(dtype) == "i32"
            name = self.type_name(dtype)
            return f"extractBits({name}({text}), 0u, {dtype.bits}u)" if signed else text
        return text

    def store(self, buffer: Any, index: str, value: Text, *, aligned: bool) -> str:
        """To a binding or an array."""
        storage, lanes = self._storage(buffer), value.dtype.lanes
        place = self.names[id(buffer)]
        if storage is not None:
            text = value.text
            if words_of(storage.element) and _element(value.dtype) == "i32":
                text = f"{'u32' if lanes == 1 else f'vec{lanes}<u32>'}({text})"
            return storage.store(index, text, lanes, aligned=aligned)
        if lanes == dtype_of(buffer[2]).lanes:
            return f"{place}[{index}] = {value.text};"
        parts = (f"{place}[{index} + {k}] = {value.text}[{k}];" for k in range(lanes))
        return " ".join(parts)

    def _storage(self, buffer: Any) -> Storage | None:
        return self._by_pointer[id(buffer[4])] if buffer[0] == "decl_buffer" else None


def _element(dtype: Dtype) -> str:
    """What an element is computed as."""
    if dtype.is_bool:
        return "bool"
    if dtype.is_float:
        if dtype.bits > _WORD_BITS:
            raise NoTextError(f"type {dtype.element}")
        return f"f{dtype.bits}"
    return "u32" if dtype.element.startswith("u") else "i32"


def _is_wide(dtype: Dtype) -> bool:
    return not dtype.is_bool and not dtype.is_float and dtype.bits == _WIDE_BITS


def _holds(dtype: Dtype, source: Dtype) -> bool:
    """Whether an integer type has all numbers of another type."""
    if source.is_bool or dtype.is_float:
        return True
    if source.is_float:
        return dtype.bits == _WORD_BITS
    signed, was_signed = (not d.element.startswith("u") for d in (dtype, source))
    if signed == was_signed:
        return dtype.bits >= source.bits
    return signed and dtype.bits > source.bits


def _narrowed(text: str, dtype: Dtype) -> str:
    """float32 to float16, rounded to nearest even."""
    if dtype.lanes == 1:
        return f"f16(ec_half4(vec4<f32>({text})).x)"
    if dtype.lanes != _LANES:
        raise NoTextError(f"{dtype} of float32")
    return f"vec4<f16>(ec_half4({text}))"


def _wide_comparison(left: str, operator: str, right: str) -> str:
    texts = {
        "==": f"all({left} == {right})",
        "!=": f"any({left} != {right})",
        "<": f"ec_wide_less({left}, {right})",
        ">": f"ec_wide_less({right}, {left})",
        "<=": f"!ec_wide_less({right}, {left})",
        ">=": f"!ec_wide_less({left}, {right})",
    }
    return f"({texts[operator]})"


def _float(value: float, dtype: Dtype) -> str:
    """A number exactly."""
    is_half = dtype.bits < _WORD_BITS
    exact = np.float16(value) if is_half else np.float32(value)
    if not np.isfinite(exact):
        text = f"ec_float(0x{int(np.float32(value).view(np.uint32)):08x}u)"
        return f"f16({text})" if is_half else text
    text = f"{float(exact):.9g}"
    text += "h" if is_half else "f"
    return text if math.copysign(1.0, value) > 0 else f"({text})"
