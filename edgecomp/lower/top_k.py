"""TopK by repeated selection: Relax would call a sort of TVM's runtime library.

Each pick is the best element after the last one in the order (value, then lower index), so no
memory is needed beside the result, and equal values come in the order ONNX wants.
"""

import math
from typing import Any

import numpy as np
import onnx

from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import KernelBuilder, load
from edgecomp.schedules.schedule import KernelCall

DTYPES = frozenset(
    {"float32", "float64", *(f"{s}int{b}" for s in ("", "u") for b in (8, 16, 32, 64))}
)


def refusal(model: onnx.ModelProto) -> str:
    """Why a model of one TopK has no kernel, "" if it has."""
    node = model.graph.node[0]
    if len(node.input) != len(("X", "K")) or node.input[1] not in {
        each.name for each in model.graph.initializer
    }:
        return "K is computed at run time"
    dtype = onnx.helper.tensor_dtype_to_np_dtype(
        model.graph.input[0].type.tensor_type.elem_type
    ).name
    return "" if dtype in DTYPES else f"TopK of {dtype}"


def emit_top_k(operation: Operation, model: onnx.ModelProto) -> list[KernelCall]:
    """One kernel; a work item is one row along the axis."""
    node = model.graph.node[0]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    source = operation.inputs[0]
    places = dict(zip(_names(node), operation.outputs, strict=True))
    axis = attributes.get("axis", -1) % len(source.shape)
    count = operation.outputs[0].shape[axis]
    inner = math.prod(source.shape[axis + 1 :])
    rows = math.prod(source.shape[:axis]) * inner
    if not rows or not count:
        return []
    builder = KernelBuilder()
    x = builder.pointer("x", source.dtype, source.elements)
    buffers = {
        name: builder.pointer(name, value.dtype, value.elements)
        for name, value in places.items()
    }
    with builder.loop("item", builder.lo, builder.hi) as item:
        outer = builder.let("outer", tirx.truncdiv(item, inner))
        column = builder.let("column", item - outer * inner)
        row = _Row(
            builder,
            x,
            builder.let("base", outer * (source.shape[axis] * inner) + column),
            inner,
            source.shape[axis],
            bool(attributes.get("largest", 1)),
        )
        target = builder.let("target", outer * (count * inner) + column)
        with builder.loop("rank", 0, count) as rank:
            row.pick(rank)
            at = target + rank * inner
            if "values" in buffers:
                builder.store(buffers["values"], at, load(row.value, 0))
            if "indices" in buffers:
                index = tirx.Cast(places["indices"].dtype, load(row.index, 0))
                builder.store(buffers["indices"], at, index)
            row.remember()
    arguments: tuple[Value, ...] = (source, *places.values())
    return [KernelCall(builder.finish("top_k"), arguments, rows)]


def _names(node: onnx.NodeProto) -> list[str]:
    return [
        name
        for name, output in zip(("values", "indices"), node.output, strict=False)
        if output
    ]


class _Row:
    """Selection along one row."""

    def __init__(
        self, builder: KernelBuilder, x: Any, base: Any, stride: int, size: int, largest: bool
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
