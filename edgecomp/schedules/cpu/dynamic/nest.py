"""Loop nests over spaces whose sizes or strides differ from run to run.

As ``schedules.cpu.nest`` has them, apart from the innermost loop: where its length is dynamic it
ends with ever smaller vectors, one of each size at most, because nothing but the length's bound
is known. So no element beside the space is written.
"""

import math
from collections.abc import Sequence

from edgecomp.plan.sizes import Dimension, has_dynamic, is_dynamic, largest
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, KernelBuilder
from edgecomp.schedules.cpu.dynamic.largest import items_of
from edgecomp.schedules.cpu.iteration import GRAIN_ELEMENTS, Space, power_of_two_below
from edgecomp.schedules.cpu.nest import Body, advance, unravel
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall

#: Work items that a nest should have at its largest, so that threads find equal shares.
_ITEMS_WANTED = 32

#: Work items: ``floor(items / divisor)``.
Items = tuple[Dimension, int]


def emit_nest(builder: KernelBuilder, space: Space, lanes: int, body: Body) -> Items:
    """Emit the loops.

    Args:
        builder: of the kernel; its range is used up.
        space: what to walk.
        lanes: of a full vector, a power of two; 1 where the innermost stride of an operand is
            dynamic.
        body: emits the work of one vector.

    Returns:
        The work items.
    """
    if has_dynamic(own[-1] for own in space.strides):
        lanes = 1
    walk = _Walk(builder, space, lanes, body)
    if len(space.sizes) == 1:
        return walk.flat()
    outer = _outer_dimensions(space.sizes)
    with builder.loop("item", builder.lo, builder.hi) as item:
        indices = unravel(builder, item, space.sizes[:outer])
        walk.level(outer, advance(builder, space, range(outer), indices, walk.start()))
    return items_of(space.sizes[:outer]), 1


def _outer_dimensions(sizes: Sequence[Dimension]) -> int:
    """Dimensions whose indices are work items: enough for threads, each with enough to do."""
    extents = [largest(size) for size in sizes]
    for d in range(1, len(extents)):
        inner = math.prod(extents[d:])
        if inner <= GRAIN_ELEMENTS or math.prod(extents[:d]) >= _ITEMS_WANTED:
            return d
    return len(extents) - 1


def dynamic_call(
    builder: KernelBuilder,
    name: str,
    arguments: Sequence[Value | Constant],
    items: Items,
    workspace_bytes: int = 0,
    multiply_adds: int = 0,
) -> KernelCall:
    """The call of a finished kernel.

    Args:
        builder: of the kernel.
        name: of the kernel's kind.
        arguments: in the order of its pointers.
        items: its work items.
        workspace_bytes: scratch of a thread, at the largest sizes.
        multiply_adds: at the largest sizes.
    """
    kernel = builder.finish(f"{name}_dynamic")
    number, divisor = items
    return KernelCall(
        kernel,
        tuple(arguments),
        largest(number) // divisor,
        workspace_bytes,
        multiply_adds,
        dynamic=Dynamic(number, divisor, builder.sizes),
    )


class _Walk:
    """The loops of one space."""

    def __init__(self, builder: KernelBuilder, space: Space, lanes: int, body: Body) -> None:
        self.builder, self.space, self.body = builder, space, body
        last = space.sizes[-1]
        self.lanes = lanes if is_dynamic(last) else min(lanes, power_of_two_below(last))

    def start(self) -> list[Expr]:
        """Offset of every operand at index 0."""
        return [self.builder.size(offset) for offset in self.space.offsets]

    def flat(self) -> Items:
        """One dimension, in chunks."""
        builder = self.builder
        (size,) = self.space.sizes
        chunk = GRAIN_ELEMENTS
        with builder.condition(builder.lo < builder.hi):
            begin = builder.let("begin", builder.lo * chunk)
            end = tirx.min(builder.hi * chunk, builder.size(size))
            self._vectors(self.start(), begin, builder.let("end", end))
        return size + (chunk - 1), chunk

    def level(self, d: int, bases: list[Expr]) -> None:
        """All dimensions from ``d`` on."""
        builder, size = self.builder, self.space.sizes[d]
        if d == len(self.space.sizes) - 1:
            self._vectors(bases, 0, builder.size(size))
            return
        with builder.loop("i", 0, builder.size(size)) as index:
            self.level(d + 1, advance(builder, self.space, [d], [index], bases))

    def _vectors(self, bases: list[Expr], begin: Expr, end: Expr) -> None:
        """One row, [begin, end) of the innermost dimension."""
        builder, lanes = self.builder, self.lanes
        if isinstance(end, int):
            self._static_row(bases, end)
            return
        length = builder.let("length", end - begin)
        with builder.loop("vector", 0, tirx.truncdiv(length, lanes)) as vector:
            self.body(self._at(bases, begin + vector * lanes), lanes)
        width = lanes // 2
        while width:
            whole = begin + (length & -(2 * width))
            with builder.condition(tirx.NE(length & width, 0)):
                self.body(self._at(bases, builder.let("rest", whole)), width)
            width //= 2

    def _static_row(self, bases: list[Expr], size: int) -> None:
        """A row of known length: a last vector that overlaps the one before."""
        lanes = self.lanes
        with self.builder.loop("vector", 0, size // lanes) as vector:
            self.body(self._at(bases, vector * lanes), lanes)
        if size % lanes:
            self.body(self._at(bases, size - lanes), lanes)

    def _at(self, bases: list[Expr], position: Expr) -> list[Expr]:
        return [
            base + position * self.builder.size(strides[-1])
            for base, strides in zip(bases, self.space.strides, strict=True)
        ]
