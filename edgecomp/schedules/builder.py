"""Build a TIR function statement by statement, with plain Python loops as the unroller.

TVMScript parses for about 0.4 s per kernel and its macros cannot be composed from data; built
directly, the same function takes milliseconds and gives the same machine code. What is built is
a record of it (``schedules/tirx.py``); TVM makes the function where it has to be compiled.

Conventions: every buffer is flat; vectors are ``Ramp`` indexed; a register tile is one small
buffer per row (under 1024 bytes, which TVM keeps on the stack and LLVM then in registers).
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

from edgecomp.plan.sizes import Dimension, Size
from edgecomp.schedules import tirx

#: Numbers that a kernel may read about its sizes.
_MOST_SIZES = 64

#: Expressions and the numbers that may stand for them.
Expr = Any
Buffer = Any


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A function with the C signature ``void symbol(pointers..., int32 lo, int32 hi)``.

    Attributes:
        symbol: C name, unique per contents.
        make: makes the PrimFunc of that name, bound to no target yet.
        record: what it was written as, of kernels for GPUs; None for others.
    """

    symbol: str
    make: Callable[[], Any] = dataclasses.field(compare=False, repr=False)
    record: tirx.Node | None = dataclasses.field(default=None, compare=False, repr=False)

    @functools.cached_property
    def function(self) -> Any:
        """The PrimFunc, made at first use."""
        return self.make()


class KernelBuilder:
    """Collects the parameters and statements of one kernel.

    The range [lo, hi) of work items is ``self.lo``, ``self.hi``; ``finish`` appends them to
    the parameters.

    Args:
        isa: instruction set of the target, where expressions may depend on it.
    """

    #: Whether names stay as they are until the kernel is compiled.
    keeps_names = False
    #: Whether the device computes in float64.
    has_float64 = True
    #: Makes the variable of a pointer.
    pointer_variable = staticmethod(tirx.PointerVar)

    def __init__(self, isa: str = "") -> None:
        self.isa = isa
        self._parameters: list[Any] = []
        self._declarations: list[Any] = []
        self._scopes: list[list[Any]] = [[]]
        self._names: dict[str, int] = {}
        self._imports: dict[str, str] = {}
        self._sizes: dict[Size, Expr] = {}
        self._size_pointer: Expr = None
        self._size_array: Buffer = None
        self.lo: Expr = tirx.Var("lo", "int32")
        self.hi: Expr = tirx.Var("hi", "int32")

    def pointer(self, name: str, dtype: str, elements: int) -> Buffer:
        """Add a pointer parameter to ``elements`` contiguous elements; return its buffer."""
        pointer = self.pointer_variable(name, dtype)
        self._parameters.append(pointer)
        buffer = tirx.decl_buffer(max(1, elements), dtype, f"{name}_buffer", data=pointer)
        self._declarations.append(tirx.DeclBuffer(buffer, data=pointer))
        return buffer

    def size(self, dimension: Dimension) -> Expr:
        """A dimension in the kernel: itself, or where it is dynamic an int32 read from memory."""
        if not isinstance(dimension, Size):
            return dimension
        if dimension not in self._sizes:
            if self._size_array is None:
                self._size_pointer = tirx.PointerVar("sizes", "int32")
                # As long as it may get: kernels read what they were given numbers for.
                self._size_array = tirx.decl_buffer(
                    _MOST_SIZES, "int32", "sizes_buffer", data=self._size_pointer
                )
                self._declarations.append(
                    tirx.DeclBuffer(self._size_array, data=self._size_pointer)
                )
            variable = tirx.Var(self._unique("size"), "int32")
            value = load(self._size_array, len(self._sizes))
            self._declarations.append(tirx.Bind(variable, value))
            self._sizes[dimension] = variable
        return self._sizes[dimension]

    @property
    def sizes(self) -> tuple[Size, ...]:
        """What the kernel reads through its last pointer, in order."""
        return tuple(self._sizes)

    def array(self, name: str, dtype: str, elements: int) -> Buffer:
        """Declare a local array; under 1024 bytes it lives on the stack or in registers."""
        buffer = tirx.decl_buffer(elements, dtype, self._unique(name))
        self._emit(tirx.AllocBuffer(buffer))
        return buffer

    def let(self, name: str, value: Expr, dtype: str = "int32") -> Expr:
        """Name a value, so that it is computed once."""
        variable = tirx.Var(self._unique(name), dtype)
        self._emit(tirx.Bind(variable, value))
        return variable

    def store(self, buffer: Buffer, index: Expr, value: Expr) -> None:
        """Store a scalar, or a vector where ``index`` is a ``ramp``."""
        self._emit(tirx.BufferStore(buffer, value, [index]))

    def evaluate(self, value: Expr) -> None:
        """Evaluate a call for its effect."""
        self._emit(tirx.Evaluate(value))

    def call_llvm(self, name: str, text: str, *arguments: Expr) -> None:
        """Call a function that is given as LLVM's text, ``define internal void @name(...)``.

        Args:
            name: of the function; the same name is the same text.
            text: its definition.
            arguments: scalars, and pointers as ``pointer_to`` makes them.
        """
        self._imports[name] = text
        self.evaluate(tirx.call_extern("void", name, *arguments))

    def prefetch(self, buffer: Buffer, index: Expr, *, near: bool) -> None:
        """Ask for a cache line to be read soon, into the level-1 (near) or level-2 cache.

        The address may lie outside the buffer: a prefetch never faults.
        """
        address = tirx.address_of(tirx.BufferLoad(buffer, [index]))
        options = [tirx.const(value, "int32") for value in (0, 3 if near else 2, 1)]
        self.evaluate(tirx.call_llvm_intrin("void", "llvm.prefetch.p0", address, *options))

    @contextlib.contextmanager
    def loop(self, name: str, begin: Expr, end: Expr) -> Iterator[Expr]:
        """Serial loop over [begin, end)."""
        variable = tirx.Var(self._unique(name), "int32")
        with self._scope() as body:
            yield variable
        extent = end if isinstance(begin, int) and begin == 0 else end - begin
        self._emit(tirx.For(variable, begin, extent, _sequence(body)))

    @contextlib.contextmanager
    def condition(self, test: Expr | None) -> Iterator[None]:
        """Statements that run only where ``test`` holds; None always holds."""
        if test is None:
            yield
            return
        with self._scope() as body:
            yield
        self._emit(tirx.IfThenElse(test, _sequence(body)))

    def finish(self, name: str) -> Kernel:
        """Close the function; the symbol is ``ec_<name>_<hash of the contents>``."""
        (statements,) = self._scopes
        body = _sequence(self._declarations + statements)
        for text in self._imports.values():
            body = tirx.ImportLlvm(text, body)
        given = self._parameters
        if self._size_array is not None:
            given = [*given, self._size_pointer]
        function = tirx.PrimFunc([*given, self.lo, self.hi], body)
        symbol = f"ec_{name}_{tirx.digest(function)[:16]}"
        return Kernel(symbol, functools.partial(_replayed, function, symbol))

    def _unique(self, name: str) -> str:
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return name if count == 0 else f"{name}_{count}"

    def _emit(self, statement: Any) -> None:
        self._scopes[-1].append(statement)

    @contextlib.contextmanager
    def _scope(self) -> Iterator[list[Any]]:
        body: list[Any] = []
        self._scopes.append(body)
        try:
            yield body
        finally:
            self._scopes.pop()


def _replayed(function: tirx.Node, symbol: str) -> Any:
    from edgecomp.schedules.replay import replay

    return replay(function).with_attr("global_symbol", symbol)


def _sequence(statements: list[Any]) -> Any:
    if not statements:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


def load(buffer: Buffer, index: Expr, lanes: int = 1) -> Expr:
    """Load ``lanes`` contiguous elements from ``index`` on."""
    return tirx.BufferLoad(buffer, [ramp(index, lanes)])


def pointer_to(buffer: Buffer, index: Expr) -> Expr:
    """Address of an element."""
    return tirx.address_of(tirx.BufferLoad(buffer, [index]))


def ramp(index: Expr, lanes: int, stride: int = 1) -> Expr:
    """Index of ``lanes`` elements ``stride`` apart; plain ``index`` for one lane."""
    return index if lanes == 1 else tirx.Ramp(index, stride, lanes)


def splat(value: Expr, lanes: int) -> Expr:
    """The scalar in every lane."""
    return value if lanes == 1 else tirx.Broadcast(value, lanes)


def constant(value: float, dtype: str, lanes: int = 1) -> Expr:
    """A literal, in every lane."""
    return splat(tirx.const(value, dtype), lanes)


def intrinsic(dtype: str, name: str, *arguments: Expr) -> Expr:
    """Call an LLVM intrinsic without side effects (``llvm.x86.avx2.pmadd.wd``)."""
    return tirx.call_llvm_pure_intrin(dtype, name, *arguments)


def reinterpret(dtype: str, value: Expr) -> Expr:
    """The same bits as another type."""
    return tirx.reinterpret(dtype, value)
