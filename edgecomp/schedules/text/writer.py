"""Records of GPU kernels to text: what languages have in common.

A record (``schedules/tirx.py``) says all that a text needs: types are known, names are unique,
every statement is one of C's. This walks it; a language says how types, numbers, loads, stores
and functions are written.
"""

import sys
from collections.abc import Callable
from typing import Any

from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.text.expressions import ExpressionWriter
from edgecomp.schedules.text.language import NoTextError, Text
from edgecomp.schedules.tirx import dtype_of

#: Deeper than any kernel's expressions, as in ``schedules/tirx.py``.
_RECURSION_LIMIT = 10_000
#: Texts of kernels that a language keeps: a schedule's match asks whether there is one, and the
#: bundle's source is made of them later.
KEPT_TEXTS = 512


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


class TextWriter(ExpressionWriter):
    """A language that writes whole functions."""

    def function(self, record: tuple[Any, ...]) -> str:
        """The text of a PrimFunc."""
        _, parameters, body = record
        for parameter in parameters:
            self.name(parameter, parameter[1])
        self._statement(body)
        return self.head(parameters) + "".join(f"{line}\n" for line in self.lines) + "}\n"

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
