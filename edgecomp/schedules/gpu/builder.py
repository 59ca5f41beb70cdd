"""Kernels of a GPU: built as the CPU's, but for one work item of a grid.

A kernel is what one work item does; which one it is it learns from ``group(axis)`` and
``item(axis)``. Small arrays are a work item's own and end in registers where every index is known
when the kernel is built.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Self

from edgecomp.plan.plan import ImageArgument, Launch, LaunchKind
from edgecomp.plan.sizes import Dimension, Size, has_dynamic, largest
from edgecomp.plan.values import Value
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
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall

#: Groups of work items along a dimension: ``floor(number / divisor)`` of a pair.
GroupCount = Dimension | tuple[Dimension, int]
Groups = tuple[GroupCount, ...]

_AXES = ("x", "y", "z")
#: Groups of a grid that every device starts along y and z; CUDA's start no more there (CUDA C++
#: Programming Guide 13.0, Technical Specifications), and 2**31 - 1 along x.
_MOST_BEHIND_X = 65535
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
        groups: groups of work items in three dimensions; ``floor(number / divisor)`` of a pair.
        items: work items of a group.
    """

    #: TVM's simplifier is not run: a text with names is what drivers compile best.
    keeps_names = True
    has_float64 = False
    pointer_variable = staticmethod(tirx.GlobalPointerVar)

    def __init__(self, groups: Groups, items: tuple[int, int, int]) -> None:
        super().__init__("")
        numbers = [each if isinstance(each, tuple) else (each, 1) for each in groups]
        self._dynamic_groups: tuple[tuple[Dimension, int], ...] = tuple(numbers)
        x, y, z = (largest(number) // divisor for number, divisor in numbers)
        self._groups, self._items = (x, y, z), items
        self._grid_axes = _grid_axes(self._groups)
        #: What a kernel reads beside its operands.
        self.tables: list[Buffer] = []
        self._images: list[ImageArgument] = []
        self._threads: dict[str, tuple[Expr, int]] = {}
        for axis, of_grid, item_count in zip(_AXES, self._grid_axes, items, strict=True):
            group = tirx.Var(f"group_{_AXES[of_grid]}", "int32")
            self._threads[f"blockIdx.{axis}"] = group, self._groups[of_grid]
            self._threads[f"threadIdx.{axis}"] = tirx.Var(f"item_{axis}", "int32"), item_count

    @classmethod
    def line(cls, count: Dimension, group_items: int) -> Self:
        """For at least ``count`` work items in one dimension; see ``each``."""
        return cls(line_of_groups(count, group_items), (group_items, 1, 1))

    def group(self, axis: int) -> Expr:
        """Number of this work item's group along a dimension."""
        return self._threads[f"blockIdx.{_AXES[self._grid_axes.index(axis)]}"][0]

    def item(self, axis: int) -> Expr:
        """Number of this work item in its group along a dimension."""
        return self._threads[f"threadIdx.{_AXES[axis]}"][0]

    def place(self, axis: int) -> Expr:
        """Number of this work item among all along a dimension."""
        items = self._items[axis]
        return self.let(f"at_{_AXES[axis]}", self.group(axis) * items + self.item(axis))

    @contextlib.contextmanager
    def each(self, count: Dimension) -> Iterator[Expr]:
        """Statements for the first ``count`` work items of a line; those behind do nothing.

        Yields:
            Number of the work item.
        """
        at = self.place(0)
        is_whole = count == self._groups[0] * self._items[0]
        with self.condition(None if is_whole else at < self.size(count)):
            yield at

    def array(self, name: str, dtype: str, elements: int) -> Buffer:
        """Declare an array of the work item's own; elements may be vectors."""
        return self._scoped(name, dtype, elements, "local")

    def shared_array(self, name: str, dtype: str, elements: int) -> Buffer:
        """Declare an array that the group shares; ``barrier`` orders stores and loads."""
        return self._scoped(name, dtype, elements, "shared")

    def pointer(self, name: str, dtype: str, elements: Dimension) -> Buffer:
        """As other kernels'; bfloat16 is uint16 in memory, ``halves.py`` says what it means.

        Args:
            name: of the parameter.
            dtype: of the elements.
            elements: in the buffer; of dynamic ones the most.
        """
        elements = largest(elements)
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
        """A dimension in the kernel: itself, or where it is dynamic one of its last arguments."""
        if not isinstance(dimension, Size):
            return dimension
        if dimension not in self._sizes:
            self._sizes[dimension] = tirx.Var(self._unique("size"), "int32")
        return self._sizes[dimension]

    def parts_of(self, dimension: Dimension, part: int) -> Expr:
        """How many parts of a number a dimension has, the last of which may be shorter."""
        if not isinstance(dimension, Size):
            return -(-dimension // part)
        if part == 1:
            return self.size(dimension)
        return self.let("parts", tirx.truncdiv(self.size(dimension) + (part - 1), part))

    @property
    def dynamic(self) -> Dynamic | None:
        """What differs from run to run, None for nothing."""
        x, y, z = (self._dynamic_groups[axis] for axis in self._grid_axes)
        is_dynamic = self.sizes or has_dynamic((x[0], y[0], z[0]))
        return Dynamic(groups=(x, y, z), sizes=self.sizes) if is_dynamic else None

    def call(
        self, name: str, arguments: Sequence[Value | Constant], multiply_adds: int = 0
    ) -> KernelCall:
        """Close the function, and call it.

        Args:
            name: of the kernel.
            arguments: in the order of its pointers.
            multiply_adds: for reports, at the largest sizes.
        """
        return KernelCall(
            self.finish(name),
            tuple(arguments),
            1,
            multiply_adds=multiply_adds,
            dynamic=self.dynamic,
            launch=self.launch,
        )

    def finish(self, name: str) -> Kernel:
        """Close the function; the symbol is ``ec_gpu_<name>_<hash of the contents>``."""
        (statements,) = self._scopes
        body = _sequence(self._declarations + statements)
        for axis, (variable, extent) in reversed(self._threads.items()):
            body = tirx.ThreadExtent(axis, variable, extent, body)
        function = tirx.PrimFunc([*self._parameters, *self._sizes.values()], body)
        symbol = f"ec_gpu_{name}_{tirx.digest(function)[:16]}"
        made = functools.partial(_replayed_for_opencl, function, symbol)
        return Kernel(symbol, made, function)

    @property
    def launch(self) -> Launch:
        """How the kernel is started."""
        gx, gy, gz = (self._groups[axis] for axis in self._grid_axes)
        ix, iy, iz = self._items
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


def _grid_axes(groups: tuple[int, int, int]) -> tuple[int, int, int]:
    """Which of a kernel's dimensions each one of the grid counts.

    The longest changes places with the first where devices start no grid as long along it: a launch
    has fewer than 2**32 work items, so that no second one is as long.
    """
    longest = groups.index(max(groups))
    if groups[longest] <= _MOST_BEHIND_X:
        longest = 0
    axes = [0, 1, 2]
    axes[0], axes[longest] = longest, 0
    return axes[0], axes[1], axes[2]


def line_of_groups(items: Dimension, group_items: int) -> Groups:
    """Groups in one dimension that hold at least so many work items."""
    groups = parts_of(items, group_items)
    return (max(1, groups) if isinstance(groups, int) else groups, 1, 1)


def parts_of(number: Dimension, part: int) -> GroupCount:
    """How many parts a number has, the last of which may be shorter."""
    if isinstance(number, Size):
        return number + (part - 1), part
    return -(-number // part)
