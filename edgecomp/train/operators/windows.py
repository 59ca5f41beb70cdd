"""Convolutions and poolings over one, two or three spatial dimensions."""

from collections.abc import Sequence

import onnx_ir as ir
import torch
from torch.nn import functional

from edgecomp.graph.windows import Window, window_of
from edgecomp.train.operators.arguments import Builder, Function, shape_of
from edgecomp.train.refusal import Unsupported

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
_MAXIMA = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
_MEANS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _of_rank(table: dict[int, Function], node: ir.Node) -> Function:
    rank = len(shape_of(node.inputs[0])) - 2
    if rank not in table:
        raise Unsupported(f"it has {rank} spatial dimensions")
    return table[rank]


def _padded(
    x: torch.Tensor, begin: Sequence[int], end: Sequence[int], value: float
) -> torch.Tensor:
    if not any(begin) and not any(end):
        return x
    pairs = [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
    return functional.pad(x, pairs, value=value)


def _ends(window: Window) -> list[int]:
    """Padding behind each dimension up to the last tap of the last window."""
    return [
        max(0, (out - 1) * stride + (kernel - 1) * dilation + 1 - begin - extent)
        for out, stride, kernel, dilation, begin, extent in zip(
            window.output, window.strides, window.kernel, window.dilations,
            window.pads_begin, window.input, strict=True,
        )
    ]  # fmt: skip


def _convolution(node: ir.Node) -> Function:
    convolve = _of_rank(_CONVOLUTIONS, node)
    window = window_of(node, shape_of(node.inputs[0]), shape_of(node.inputs[1])[2:])
    groups = node.attributes.get_int("group", 1)
    begin, end = window.pads_begin, tuple(_ends(window))
    inside = begin if begin == window.pads_end else None

    def run(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        if inside is None:
            x = _padded(x, begin, end, 0.0)
        return convolve(x, weight, bias, window.strides, inside or 0, window.dilations, groups)

    return run


def _transposed(node: ir.Node) -> Function:
    convolve = _of_rank(_TRANSPOSED, node)
    attributes, extents = node.attributes, shape_of(node.outputs[0])[2:]
    rank = len(extents)
    strides = tuple(attributes.get_ints("strides") or (1,) * rank)
    dilations = tuple(attributes.get_ints("dilations") or (1,) * rank)
    groups = attributes.get_int("group", 1)
    pads = tuple(attributes.get_ints("pads") or (0,) * 2 * rank)
    if attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise Unsupported("its padding is chosen by auto_pad")

    def run(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        y = convolve(x, weight, bias, strides, 0, 0, groups, dilations)
        for axis, (begin, extent) in enumerate(zip(pads, extents, strict=False), start=2):
            missing = begin + extent - y.shape[axis]
            if missing > 0:  # output_padding
                raise_to = [0, 0] * (y.ndim - axis - 1) + [0, missing]
                fill = 0.0 if bias is None else bias.reshape(-1, *(1,) * rank)
                y = functional.pad(y - fill, raise_to) + fill
            y = y.narrow(axis, begin, extent)
        return y

    return run


def _pooling_window(node: ir.Node) -> Window:
    kernel = tuple(node.attributes.get_ints("kernel_shape") or ())
    return window_of(node, shape_of(node.inputs[0]), kernel)


def _maximum(node: ir.Node) -> Function:
    if len(node.outputs) > 1 and node.outputs[1].uses():
        raise Unsupported("its indices are read")
    pool, window = _of_rank(_MAXIMA, node), _pooling_window(node)
    end = _ends(window)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = _padded(x, window.pads_begin, end, -torch.inf)
        return pool(x, window.kernel, window.strides, 0, window.dilations)

    return run


def _mean(node: ir.Node) -> Function:
    pool, window = _of_rank(_MEANS, node), _pooling_window(node)
    if any(d != 1 for d in window.dilations):
        raise Unsupported("it is dilated")
    end = _ends(window)
    whole = torch.ones((1, 1, *window.input))
    if node.attributes.get_int("count_include_pad", 0):
        whole = _padded(whole, window.pads_begin, window.pads_end, 1.0)
        over = [e - p for e, p in zip(end, window.pads_end, strict=True)]
        whole = _padded(whole, (0,) * len(over), over, 0.0)
    else:
        whole = _padded(whole, window.pads_begin, end, 0.0)
    shares = pool(whole, window.kernel, window.strides)

    def run(x: torch.Tensor) -> torch.Tensor:
        x = _padded(x, window.pads_begin, end, 0.0)
        return pool(x, window.kernel, window.strides) / shares.to(x.device)

    return run


def _everywhere(function: Function) -> Builder:
    def build(node: ir.Node) -> Function:
        axes = tuple(range(2, len(shape_of(node.inputs[0]))))
        return lambda x: function(x, axes, keepdim=True)

    return build


BUILDERS: dict[str, Builder] = {
    "AveragePool": _mean,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "GlobalAveragePool": _everywhere(torch.mean),
    "GlobalMaxPool": _everywhere(torch.amax),
    "MaxPool": _maximum,
}
