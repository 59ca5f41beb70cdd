"""What languages that come from C say alike: numbers, operators, declarations."""

import abc
import math
from typing import Any, ClassVar

import numpy as np

from edgecomp.schedules.text.language import NoTextError, Text
from edgecomp.schedules.text.writer import TextWriter
from edgecomp.schedules.tirx import Dtype, dtype_of

#: Bits of what C makes of smaller types before it computes.
_C_INT_BITS = 32


class CWriter(TextWriter):
    """One kernel in a language with C's statements."""

    #: What it calls the scalars' types.
    types: ClassVar[dict[str, str]]
    #: Of integers that are no int.
    suffixes: ClassVar[dict[str, str]]
    #: In front of an array that a group shares.
    shared_word: ClassVar[str]

    @abc.abstractmethod
    def as_type(self, text: str, dtype: Dtype) -> str:
        """A scalar cast to a type."""

    def element_name(self, dtype: Dtype) -> str:
        """Of a scalar's type."""
        if dtype.element not in self.types:
            raise NoTextError(f"type {dtype.element}")
        return self.types[dtype.element]

    def declare_array(
        self, record: tuple[Any, ...], name: str, dtype: Dtype, elements: int, *, shared: bool
    ) -> None:
        """With the group's word where it is shared."""
        del record
        place = f"{self.shared_word} " if shared else ""
        self.emit(f"{place}{self.type_name(dtype)} {name}[{elements}];")

    def declare(self, name: str, dtype: Dtype, value: str) -> str:
        """A value that does not change."""
        return f"const {self.type_name(dtype)} {name} = {value};"

    def loop_head(self, name: str, first: str, end: str) -> str:
        """Counting up by one."""
        return f"for (int {name} = {first}; {name} < {end}; ++{name})"

    def constant(self, value: Any, dtype: Dtype) -> str:
        """A literal of its type."""
        if dtype.is_bool:
            return "true" if value else "false"
        if dtype.element == "float32":
            return self._float(float(value))
        if dtype.element == "float16":
            return self.as_type(self._float(float(value)), dtype)
        if dtype.is_float:
            self.element_name(dtype)  # refuses what the language lacks
            return f"({float(value)!r})"
        suffix = self.suffixes.get(dtype.element, "")
        least = -(1 << (dtype.bits - 1))
        if value == least and dtype.element in ("int32", "int64"):
            text = f"({value + 1}{suffix} - 1)"  # in C the sign is no part of a number
        else:
            text = f"{value}{suffix}" if value >= 0 else f"({value}{suffix})"
        return text if dtype.bits >= _C_INT_BITS else self.as_type(text, dtype)

    def _float(self, value: float) -> str:
        """A float32 exactly."""
        exact = np.float32(value)
        if not np.isfinite(exact):
            bits = Text(f"0x{int(exact.view(np.uint32)):08x}u", dtype_of("uint32"))
            return self.reinterpret(bits, dtype_of("float32"))
        text = f"{float(exact):.9g}"
        if not set(".e") & set(text):
            text += ".0"
        return f"{text}f" if math.copysign(1.0, value) > 0 else f"({text}f)"

    def operation(self, left: str, operator: str, right: str, dtype: Dtype) -> str:
        """Small scalars are made their own type again."""
        return self._wrapped(f"({left} {operator} {right})", dtype)

    def comparison(self, left: str, operator: str, right: str, dtype: Dtype) -> str:
        """Lane by lane."""
        del dtype
        return f"({left} {operator} {right})"

    def unary(self, operator: str, x: Text) -> str:
        """As ``operation``."""
        return self._wrapped(f"({operator}{x.text})", x.dtype)

    def _wrapped(self, text: str, dtype: Dtype) -> str:
        """Arithmetic of scalars that C widens, as their own again."""
        small = not dtype.is_bool and not dtype.is_float and dtype.bits < _C_INT_BITS
        return self.as_type(text, dtype) if small and dtype.lanes == 1 else text
