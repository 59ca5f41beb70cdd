"""Kernels of a GPU: built as the CPU's, but for one work item of a grid.

A kernel is what one work item does; which one it is it learns from ``group(axis)`` and
``item(axis)``. Small arrays are a work item's own and end in registers where every index is known
when the kernel is built.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any, Self

from edgecomp.plan.plan import ImageArgument, Launch, LaunchKind
from edgecomp.plan.sizes import Dimension, Size
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    _sequence,
)
from edgecomp.schedules.gpu.halves import HALVES, as_halves, store_half
from edgecomp.schedules.gpu.images import Image

_AXES = ("x", "y", "z")
_TAKEN = frozenset(
    [
        "half",
        "bool",
        "image2d_t",
        "kernel",
        "global",
        "local",
        "constant",
        "private",
        "mad",
        "mad24",
        "fma",
        "dot",
        "min",
        "max",
        "sqrt",
        "select",
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "acosh",
        "atanh",
        "exp",
        "log",
        "pow",
    ]
)


class GridBuilder(KernelBuilder):
    """Collects the parameters and statements of one work item.

    Args:
        groups: groups of work items in three dimensions.
        items: work items of a group.
    """

    #: TVM's simplifier is not run: a text with names is what drivers compile best.
    keeps_names = True
    has_float64 = False
    pointer_variable = staticmethod(tirx.GlobalPointerVar)

    def __init__(self, groups: tuple[int, int, int], items: tuple[int, int, int]) -> None:
        super().__init__("")
        self._groups, self._items = groups, items
        #: What a kernel reads beside its operands.
        self.tables: list[Buffer] = []
        self._images: list[ImageArgument] = []
        self._threads: dict[str, tuple[Expr, int]] = {}
        for axis, group_count, item_count in zip(_AXES, groups, items, strict=True):
            self._threads[f"blockIdx.{axis}"] = tirx.Var(f"group_{axis}", "int32"), group_count
            self._threads[f"threadIdx.{axis}"] = tirx.Var(f"item_{axis}", "int32"), item_count

    @classmethod
    def line(cls, count: int, group_items: int) -> Self:
        """For at least ``count`` work items in one dimension; see ``each``."""
        return cls(line_of_groups(count, group_items), (group_items, 1, 1))

    def group(self, axis: int) -> Expr:
        """Number of this work item's group along a dimension."""
        return self._threads[f"blockIdx.{_AXES[axis]}"][0]

    def item(self, axis: int) -> Expr:
        """Number of this work item in its group along a dimension."""
        return self._threads[f"threadIdx.{_AXES[axis]}"][0]

    def place(self, axis: int) -> Expr:
        """Number of this work item among all along a dimension."""
        items = self._items[axis]
        return self.let(f"at_{_AXES[axis]}", self.group(axis) * items + self.item(axis))

    @contextlib.contextmanager
    def each(self, count: int) -> Iterator[Expr]:
        """Statements for the first ``count`` work items of a line; those behind do nothing.

        Yields:
            Number of the work item.
        """
        at = self.place(0)
        is_whole = count == self._groups[0] * self._items[0]
        with self.condition(None if is_whole else at < count):
            yield at

    def array(self, name: str, dtype: str, elements: int) -> Buffer:
        """Declare an array of the work item's own; elements may be vectors."""
        return self._scoped(name, dtype, elements, "local")

    def shared_array(self, name: str, dtype: str, elements: int) -> Buffer:
        """Declare an array that the group shares; ``barrier`` orders stores and loads."""
        return self._scoped(name, dtype, elements, "shared")

    def pointer(self, name: str, dtype: str, elements: int) -> Buffer:
        """As other kernels'; bfloat16 is uint16 in memory, ``halves.py`` says what it means."""
        if dtype == "bfloat16":
            return as_halves(super().pointer(name, "uint16", elements))
        return super().pointer(name, dtype, elements)

    def image(self, name: str, dtype: str, width: int, height: int) -> Image:
        """Add an image parameter, in texels; the argument's rows follow one another."""
        self._images.append(ImageArgument(len(self._parameters), width, height))
        stored = "uint16" if dtype == "bfloat16" else dtype
        variable = tirx.ImageVar(name, stored)
        self._parameters.append(variable)
        return Image(variable, tirx.dtype_of(dtype))

    def store(self, buffer: Buffer, index: Expr, value: Expr) -> None:
        """As other kernels'; a float32 scalar is rounded where the buffer's floats have 16 bits."""
        if buffer.dtype.element in HALVES and value.dtype.name == "float32":
            store_half(self, buffer, index, value)
            return
        super().store(buffer, index, value)

    def barrier(self) -> None:
        """Wait for all work items of the group; what they stored to shared memory is there."""
        self._emit(tirx.SharedBarrier())

    def size(self, dimension: Dimension) -> Expr:
        """A dimension; one that is dynamic has no place here."""
        if isinstance(dimension, Size):
            raise TypeError(f"{dimension} in a kernel of a GPU")
        return dimension

    def finish(self, name: str) -> Kernel:
        """Close the function; the symbol is ``ec_gpu_<name>_<hash of the contents>``."""
        (statements,) = self._scopes
        body = _sequence(self._declarations + statements)
        for axis, (variable, extent) in reversed(self._threads.items()):
            body = tirx.ThreadExtent(axis, variable, extent, body)
        function = tirx.PrimFunc(self._parameters, body)
        symbol = f"ec_gpu_{name}_{tirx.digest(function)[:16]}"
        made = functools.partial(_replayed_for_opencl, function, symbol)
        return Kernel(symbol, made, function)

    @property
    def launch(self) -> Launch:
        """How the kernel is started."""
        (gx, gy, gz), (ix, iy, iz) = self._groups, self._items
        sizes = (gx * ix, gy * iy, gz * iz)
        return Launch(LaunchKind.KERNEL, sizes, self._items, images=tuple(self._images))

    def _unique(self, name: str) -> str:
        """No variable is called as a word of OpenCL's or as a function that kernels call."""
        return super()._unique(f"{name}_" if name in _TAKEN else name)

    def _scoped(self, name: str, dtype: str, elements: int, scope: str) -> Any:
        buffer = tirx.decl_scoped_buffer(elements, dtype, self._unique(name), scope)
        self._emit(tirx.AllocBuffer(buffer))
        return buffer


def _replayed_for_opencl(function: tirx.Node, symbol: str) -> Any:
    from edgecomp.schedules.mobile_gpu.opencl import replay_for_opencl

    return replay_for_opencl(function).with_attr("global_symbol", symbol)


def line_of_groups(items: int, group_items: int) -> tuple[int, int, int]:
    """Groups in one dimension that hold at least so many work items."""
    return (max(1, -(-items // group_items)), 1, 1)
