"""Records of kernels to CUDA C.

TVM's own CUDA text is not used: where vectors are taken apart it keeps the first text of an equal
load by name, and so reads arrays of sums as they were before they were stored to.

Vectors are loaded and stored at once where the index is known to be a multiple of their length;
arrays begin at multiples of 64 bytes. Their operators and all functions are the prelude's.
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any, ClassVar

from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.text.c_like import CWriter
from edgecomp.schedules.text.expressions import CALLS, FUNCTIONS
from edgecomp.schedules.text.language import Text
from edgecomp.schedules.text.writer import written
from edgecomp.schedules.tirx import Dtype, dtype_of

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
_FUNCTIONS = FUNCTIONS | {"erf", "round"}
_STAGED = ("rows_", "columns_", "weights_", "exchange_")
#: The prelude's, beside those that every language has.
_OWN_CALLS = frozenset(
    [
        *("dot4_s8", "dot4_start", "dot4_u8", "word", "words2", "words4", "pack"),
        *("joined", "columns2", "columns4", "word_f16", "word_bf16", "rounded_tf32"),
        *("mma_s8", "mma_u8", "mma_s8_u8", "mma_u8_u8"),
        *("mma_f16", "mma_f16_quads", "mma_bf16", "mma_tf32"),
        *(f"wmma_{part}{kind}" for kind in ("s8", "u8") for part in ("", *_STAGED)),
        *("wmma_sums", "quad_max", "quad_sum", "twin_max", "twin_sum", "quads_of_sums"),
    ]
)


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
    """One kernel, without the prelude.

    Raises:
        NoTextError: the prelude lacks a function.
    """
    return written(_CudaWriter(kernel.symbol), kernel)


class _CudaWriter(CWriter):
    """One kernel on its way."""

    types: ClassVar = _TYPES
    suffixes: ClassVar = {"uint32": "u", "int64": "ll", "uint64": "ull"}
    #: What wmma loads begins at 32 bytes.
    shared_word = "alignas(32) __shared__"
    functions: ClassVar = _FUNCTIONS
    calls: ClassVar = _FUNCTIONS | CALLS | _OWN_CALLS
    reorders_sums = False

    def head(self, parameters: list[tuple[Any, ...]]) -> str:
        """The signature."""
        given = ", ".join(map(self._parameter, parameters))
        attribute = f'extern "C" __global__ void __launch_bounds__({self.items})'
        return f"{attribute} {self.symbol}({given}) {{\n"

    def _parameter(self, record: tuple[Any, ...]) -> str:
        if record[0] == "Var":  # a size of the run
            return f"{self.type_name(dtype_of(record[2]))} {self.names[id(record)]}"
        const = "" if id(record) in self.stored else "const "
        name = self.type_name(dtype_of(record[2]))
        return f"{const}{name}* __restrict__ {self.names[id(record)]}"

    def type_name(self, dtype: Dtype) -> str:
        """``ec::vec<float, 4>``."""
        name = self.element_name(dtype)
        return name if dtype.lanes == 1 else f"ec::vec<{name}, {dtype.lanes}>"

    def as_type(self, text: str, dtype: Dtype) -> str:
        """As C++ has it."""
        return f"static_cast<{self.type_name(dtype)}>({text})"

    def thread(self, axis: str) -> str:
        """CUDA's variables are unsigned."""
        return f"static_cast<int>({axis})"

    def barrier(self) -> str:
        """Of the block."""
        return "__syncthreads();"

    def cast(self, x: Text, dtype: Dtype) -> str:
        """Scalars and vectors alike."""
        return f"ec::convert<{self.element_name(dtype)}>({x.text})"

    def broadcast(self, x: Text, lanes: int) -> str:
        """By the prelude."""
        return f"ec::broadcast<{lanes}>({x.text})"

    def vector(self, lanes: list[str], dtype: Dtype) -> str:
        """Its array's elements."""
        return f"{self.type_name(dtype)}{{{{{', '.join(lanes)}}}}}"

    def ramp(self, base: str, stride: str, dtype: Dtype) -> str:
        """By the prelude."""
        return f"ec::ramp<{dtype.lanes}>({base}, {stride})"

    def join(self, name: str, left: str, right: str, dtype: Dtype) -> str:
        """By the prelude, of any type."""
        del dtype
        return f"ec::{name}({left}, {right})"

    def apply(self, name: str, arguments: list[Text], dtype: Dtype) -> str:
        """By the prelude."""
        del dtype
        return f"ec::{name}({', '.join(argument.text for argument in arguments)})"

    def reinterpret(self, x: Text, dtype: Dtype) -> str:
        """By the prelude."""
        return f"ec::bits<{self.type_name(dtype)}>({x.text})"

    def select(self, condition: Text, chosen: str, other: str) -> str:
        """By the prelude, lane by lane."""
        return f"ec::select({condition.text}, {chosen}, {other})"

    def lane(self, x: Text, index: str) -> str:
        """Of the vector's array."""
        return f"{x.text}.v[{index}]"

    def address(self, buffer: Any, index: str) -> str:
        """A pointer."""
        return f"({self.names[id(buffer)]} + {index})"

    def load(self, buffer: Any, index: str, dtype: Dtype, *, aligned: bool) -> str:
        """At once where it is aligned."""
        place = self.names[id(buffer)]
        if dtype.lanes == dtype_of(buffer[2]).lanes:
            return f"{place}[{index}]"
        return f"ec::{'load_aligned' if aligned else 'load'}<{dtype.lanes}>({place} + {index})"

    def store(self, buffer: Any, index: str, value: Text, *, aligned: bool) -> str:
        """At once where it is aligned."""
        place, lanes = self.names[id(buffer)], value.dtype.lanes
        if lanes == dtype_of(buffer[2]).lanes:
            return f"{place}[{index}] = {value.text};"
        function = "store_aligned" if aligned else "store"
        return f"ec::{function}<{lanes}>({place} + {index}, {value.text});"
