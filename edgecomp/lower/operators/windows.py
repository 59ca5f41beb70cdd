"""Sliding windows of Conv and the pools. One-dimensional ones become images of height 1."""

from collections.abc import Sequence

import onnx_ir as ir

from edgecomp.graph.windows import Window
from edgecomp.lower.operators.movement import reinterpret
from edgecomp.lower.reader import Reader
from edgecomp.plan.operations import Kind
from edgecomp.plan.values import Value


def pair(numbers: Sequence[int], first: int) -> tuple[int, int]:
    """Numbers of one or two spatial dimensions as (height, width)."""
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (first, numbers[0])


def image_pads(window: Window) -> tuple[int, int, int, int]:
    """Top, left, bottom, right: wide enough for every window.

    Where ``ceil_mode`` lets the last windows overshoot the given padding, it is widened.
    """
    ends = [
        max(end, (out - 1) * stride + (kernel - 1) * dilation + 1 - begin - extent)
        for out, stride, kernel, dilation, begin, end, extent in zip(
            window.output,
            window.strides,
            window.kernel,
            window.dilations,
            window.pads_begin,
            window.pads_end,
            window.input,
            strict=True,
        )
    ]
    top, left = pair(window.pads_begin, 0)
    bottom, right = pair(ends, 0)
    return top, left, bottom, right


def window_refusal(window: Window) -> str:
    """Why no image operation takes the window, "" if one does."""
    if len(window.kernel) not in (1, 2):
        return f"{len(window.kernel)}-dimensional window"
    if min(*window.pads_begin, *window.pads_end) < 0:
        return "negative padding"
    return ""


def emit_on_image(
    reader: Reader,
    node: ir.Node,
    x: Value,
    more_inputs: Sequence[Value],
    kind: Kind,
    nodes: Sequence[ir.Node],
    output: Value,
) -> None:
    """Emit an operation on images; rank-3 values are viewed as images of height 1 around it."""
    if len(x.shape) == 4:
        reader.emit(kind, [x, *more_inputs], [output], nodes)
        return
    image = reinterpret(reader, x, (x.shape[0], x.shape[1], 1, x.shape[2]), node)
    shape = (output.shape[0], output.shape[1], 1, output.shape[2])
    result = reader.new_value(f"{output.name}.image", shape, output.dtype, output.quantization)
    reader.emit(kind, [image, *more_inputs], [result], nodes)
    reinterpret(reader, result, output.shape, node, output)
