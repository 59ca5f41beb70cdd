"""Which operations of dynamic sizes the kernels of a GPU compute."""

import math
from collections.abc import Sequence

from edgecomp.plan.attention import Attention, IntegerAttention
from edgecomp.plan.movement import FillHalo, Resize
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply, PackedMatrixMultiply
from edgecomp.plan.reductions import LayerNorm, Pool, Reduce
from edgecomp.plan.sizes import (
    Dimension,
    Size,
    has_dynamic,
    is_dynamic,
    largest,
    symbols_of,
)
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.windows import Window

#: Of a launch, beside its tensors: ``EC_MAX_LAUNCH_CONSTANTS`` of the runtime.
MOST_SIZES = 16
#: Elements of a mean of 8-bit values whose number is dynamic: its kernel has a table with as many
#: multipliers, 64 KB of them.
MOST_COUNTED = 16383


def refuse_sizes(operation: Operation) -> str:
    """Why kernels that ask their builder for sizes do not take an operation's, "" where they do."""
    values = (*operation.inputs, *operation.outputs)
    if any(map(_is_counted, (extent for value in values for extent in value.shape))):
        return "sizes that the data decides"
    kind = operation.kind
    if isinstance(kind, Convolution | Pool | Resize | FillHalo):
        images = [value for value in values if len(value.shape) > 1 and value.constant is None]
        return _refuse_images(operation, images)
    if isinstance(kind, PackedMatrixMultiply):
        ends = (operation.inputs[0].shape[-1], operation.outputs[0].shape[-1])
        return "dynamic columns" if has_dynamic(ends) else ""
    if isinstance(kind, MatrixMultiply):
        rows = (operation.inputs[0], operation.output, *operation.inputs[3:])
        return "dynamic columns" if any(is_dynamic(v.shape[-1]) for v in rows) else ""
    if isinstance(kind, Attention | IntegerAttention):
        depth_and_columns = (kind.q.shape[-1], kind.v.shape[-1])
        return "dynamic depth or columns" if has_dynamic(depth_and_columns) else ""
    if isinstance(kind, LayerNorm):
        shape = operation.inputs[0].shape
        behind = shape[kind.axis % len(shape) + 1 :]
        return "rows with a dynamic dimension behind others" if has_dynamic(behind) else ""
    if isinstance(kind, Reduce) and kind.requantize is not None:
        source = operation.inputs[0]
        count = math.prod(source.shape[axis] for axis in kind.axes)
        too_many = is_dynamic(count) and largest(count) > MOST_COUNTED
        return f"8-bit means of up to more than {MOST_COUNTED} elements" if too_many else ""
    return ""


def _refuse_images(operation: Operation, images: Sequence[Value]) -> str:
    """The same of windows over images."""
    kind = operation.kind
    if any(map(is_dynamic, (value.shape[1] for value in images))):
        return "images of dynamic channels"
    if not is_image_sized(operation) or not isinstance(kind, Convolution | Pool):
        return ""
    window = kind.window if isinstance(kind, Pool) else operation.inputs[1].shape[2:]
    if has_dynamic((*window, *kind.strides, *kind.dilations, *kind.pads)):
        return "a window that depends on the size"
    if isinstance(kind, Pool) and not kind.maximum and set(kind.dilations) != {1}:
        return "an average of dilated windows, of dynamic height or width"
    top, left = kind.pads[:2]
    whole = Window((window[0], window[1]), kind.strides, kind.dilations, (top, left))
    return whole.refusal(operation.inputs[0], operation.output)


def is_image_sized(operation: Operation) -> bool:
    """Whether it reads or makes images of dynamic height or width."""
    values = (*operation.inputs, *operation.outputs)
    return any(
        value.constant is None and len(value.shape) > 2 and has_dynamic(value.shape[2:])
        for value in values
    )


def _is_counted(extent: Dimension) -> bool:
    """Whether a call of the run decides it: there may be none of these."""
    return isinstance(extent, Size) and any(symbol.is_counted for symbol in symbols_of(extent))
