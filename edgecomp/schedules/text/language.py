"""What a language decides of a kernel's text: types, numbers, functions, loads and stores."""

import abc
import dataclasses
from typing import Any

from edgecomp.schedules.tirx import Dtype


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


class Language(abc.ABC):
    """The words of one function on its way.

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
        self._used: dict[str, int] = {}

    def name(self, record: tuple[Any, ...], name: str) -> str:
        """One that no other variable has, and no word of the language."""
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        made = self.names[id(record)] = f"{name}_" if count == 0 else f"{name}_n{count}_"
        return made

    def emit(self, line: str) -> None:
        """Add a line."""
        self.lines.append("  " * self._depth + line)

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

    def address(self, buffer: Any, index: str) -> str:
        """Of an element, for a function of ``calls`` that loads by itself."""
        del buffer, index
        raise NoTextError("function address_of")
