"""Constants into memory: a whole value, or the halo of an image."""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.movement import Fill, FillHalo
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Order, Value
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, ramp
from edgecomp.schedules.cpu.iteration import power_of_two_below, space_of_views
from edgecomp.schedules.cpu.nest import emit_nest
from edgecomp.schedules.cpu.operand import DTYPES
from edgecomp.schedules.cpu.rows import Row
from edgecomp.schedules.cpu.small_types import SMALL, memory_dtype
from edgecomp.schedules.schedule import KernelCall, Progress

NAME = "fill"

#: Elements of a halo that are worth another thread: they are few, and it is stores alone.
GRAIN_ELEMENTS = 8192


def match(operation: Operation, target: Target) -> str:
    """Any value; a halo around an NHWC value."""
    del target
    if not isinstance(operation.kind, Fill | FillHalo):
        return "neither Fill nor FillHalo"
    output = operation.output
    if output.dtype not in DTYPES | SMALL:
        return f"fill of {output.dtype}"
    if isinstance(operation.kind, FillHalo) and output.order is not Order.NHWC:
        return "halo of a row-major value"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, none where there is nothing to fill."""
    kind, output = operation.kind, operation.output
    assert isinstance(kind, Fill | FillHalo)
    dtype = memory_dtype(output.dtype)
    value = stored(kind.value, output.dtype)
    builder = KernelBuilder()
    progress = None
    y = builder.pointer("y", dtype, output.view.elements)
    lanes = target.lanes(8 * np.dtype(output.dtype).itemsize)
    filler = Filler(builder, y, dtype, value, lanes)
    if isinstance(kind, Fill):
        if not output.elements:
            return []
        space = space_of_views([output.view])
        items = emit_nest(
            builder,
            space,
            lanes,
            lambda offsets, width: filler.store(offsets[0], width, space.inner_stride(0)),
        )
        name, grain = "fill", 1
    else:
        if not output.halo or not output.view.elements:
            return []
        items = _emit_halo(builder, output, filler)
        name = "fill_halo"
        grain = math.ceil(GRAIN_ELEMENTS * items / _halo_elements(output))
        progress = _halo_progress(output)
    kernel = builder.finish(name)
    return [KernelCall(kernel, (output,), items, grain_items=grain, progress=progress)]


def stored(value: float, dtype: str) -> float | int:
    """What memory holds for a value: its bits, where kernels know no such type."""
    kept = memory_dtype(dtype)
    return value if kept == dtype else int(np.array(value).astype(dtype).view(kept))


class Filler:
    """Stores of one constant."""

    def __init__(
        self, builder: KernelBuilder, y: Buffer, dtype: str, value: float, lanes: int
    ) -> None:
        self._builder = builder
        self._y, self._dtype, self._value, self._lanes = y, dtype, value, lanes

    def store(self, at: Expr, lanes: int, stride: int = 1) -> None:
        """One vector."""
        vector = constant(self._value, self._dtype, lanes)
        self._builder.store(self._y, ramp(at, lanes, stride), vector)

    def run(self, begin: Expr, size: int) -> None:
        """``size`` elements from ``begin`` on."""
        if size == 0:
            return
        row = Row(self._builder, size, min(self._lanes, power_of_two_below(size)))
        row.each(lambda at: self.store(begin + at, row.lanes))


def _halo_elements(output: Value) -> int:
    """Elements around the images."""
    batch, channels, height, width = output.shape
    halo = output.halo
    padded = (halo.top + height + halo.bottom) * (halo.left + width + halo.right)
    return batch * channels * (padded - height * width)


def _halo_progress(output: Value) -> Progress | None:
    """A run is a row of the image, with the rows above the first and below the last."""
    batch, _, height, _ = output.shape
    if batch != 1:
        return None
    done = tuple(range(1, height + 1))
    ends = [output.halo.top + row for row in done]
    ends[-1] += output.halo.bottom
    return Progress(tuple(ends), done, done, (0,) * height, (0,) * height)


def _emit_halo(builder: KernelBuilder, output: Value, filler: Filler) -> int:
    """A work item is one row of one padded image."""
    batch, channels, height, width = output.shape
    halo = output.halo
    padded_height = halo.top + height + halo.bottom
    padded_width = halo.left + width + halo.right
    row_elements = padded_width * channels
    with builder.loop("item", builder.lo, builder.hi) as item:
        begin = builder.let("begin", item * row_elements)
        row = builder.let("row", item % padded_height)
        inside = (row >= halo.top) & (row < halo.top + height)
        with builder.condition(inside):
            filler.run(begin, halo.left * channels)
            filler.run(begin + (halo.left + width) * channels, halo.right * channels)
        with builder.condition(~inside):
            filler.run(begin, row_elements)
    return batch * padded_height
