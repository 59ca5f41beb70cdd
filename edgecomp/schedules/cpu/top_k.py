"""TopK by repeated selection; sizes may be dynamic.

Each pick is the best element after the last one in the order (value, then lower index), so no
memory is needed beside the result, and equal values come in the order ONNX wants.
"""

from typing import Any

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.reductions import TopK
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Order
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder, load
from edgecomp.schedules.cpu.dynamic.largest import items_of
from edgecomp.schedules.cpu.dynamic.nest import dynamic_call
from edgecomp.schedules.schedule import KernelCall

NAME = "top_k"
DTYPES = frozenset(
    {"float32", "float64", *(f"{s}int{b}" for s in ("", "u") for b in (8, 16, 32, 64))}
)


def match(operation: Operation, target: Target) -> str:
    """Row-major numbers that the machine compares."""
    del target
    if not isinstance(operation.kind, TopK):
        return "not a TopK"
    x = operation.inputs[0]
    if x.dtype not in DTYPES:
        return f"TopK of {x.dtype}"
    return "" if x.order is Order.ROW_MAJOR else "TopK of an image"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is one row along the axis."""
    kind, (source,), (values, indices) = operation.kind, operation.inputs, operation.outputs
    assert isinstance(kind, TopK)
    inner = items_of(source.shape[kind.axis + 1 :])
    rows = items_of(source.shape[: kind.axis]) * inner
    if not largest(rows) or not largest(values.elements):
        return []
    builder = KernelBuilder(target.core.isa)
    x = builder.pointer("x", source.dtype, largest(source.elements))
    found = builder.pointer("values", values.dtype, largest(values.elements))
    places = builder.pointer("indices", "int64", largest(indices.elements))
    size, stride = builder.size(source.shape[kind.axis]), builder.size(inner)
    count = builder.size(values.shape[kind.axis])
    with builder.loop("item", builder.lo, builder.hi) as item:
        outer = builder.let("outer", tirx.truncdiv(item, stride))
        column = builder.let("column", item - outer * stride)
        base = builder.let("base", outer * (size * stride) + column)
        row = _Row(builder, x, base, stride, size, kind.is_largest)
        target_at = builder.let("target", outer * (count * stride) + column)
        with builder.loop("rank", 0, count) as rank:
            row.pick(rank)
            at = target_at + rank * stride
            builder.store(found, at, load(row.value, 0))
            builder.store(places, at, tirx.Cast("int64", load(row.index, 0)))
            row.remember()
    return [dynamic_call(builder, NAME, (source, values, indices), (rows, 1))]


class _Row:
    """Selection along one row."""

    def __init__(
        self, builder: KernelBuilder, x: Any, base: Any, stride: Any, size: Any, largest: bool
    ) -> None:
        self._builder = builder
        self._x, self._base, self._stride, self._size = x, base, stride, size
        self._largest = largest
        dtype = str(np.dtype(str(x.dtype)))
        self.value = builder.array("value", dtype, 1)
        self.index = builder.array("index", "int32", 1)
        self._last_value = builder.array("last_value", dtype, 1)
        self._last_index = builder.array("last_index", "int32", 1)

    def pick(self, rank: Any) -> None:
        """Find the best element after the last one."""
        builder = self._builder
        builder.store(self.index, 0, tirx.const(-1, "int32"))
        with builder.loop("i", 0, self._size) as i:
            element = load(self._x, self._base + i * self._stride)
            last, last_index = load(self._last_value, 0), load(self._last_index, 0)
            after = tirx.Or(
                self._better(last, element),
                tirx.And(tirx.EQ(element, last), i > last_index),
            )
            better = tirx.Or(
                load(self.index, 0) < 0, self._better(element, load(self.value, 0))
            )
            with builder.condition(tirx.And(tirx.Or(tirx.EQ(rank, 0), after), better)):
                builder.store(self.value, 0, element)
                builder.store(self.index, 0, i)

    def remember(self) -> None:
        """The pick becomes the last one."""
        self._builder.store(self._last_value, 0, load(self.value, 0))
        self._builder.store(self._last_index, 0, load(self.index, 0))

    def _better(self, a: Any, b: Any) -> Any:
        return a > b if self._largest else a < b
