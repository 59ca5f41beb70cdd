"""Convolution and pooling over N-dimensional windows, one tap at a time.

A tap is the strided box of the padded input that one element of the window sees; a convolution
is one matrix product per tap. In float64 the products of integers are exact below 2**53.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgecomp.graph.integer import AnyArray
from edgecomp.graph.windows import Window


def pad_windows(x: AnyArray, window: Window, fill: float) -> AnyArray:
    """X [N, C, spatial...] with the window's padding filled, and room for its last windows."""
    reach = [
        (out - 1) * stride + (kernel - 1) * dilation + 1 - begin - extent
        for out, stride, kernel, dilation, begin, extent in zip(
            window.output,
            window.strides,
            window.kernel,
            window.dilations,
            window.pads_begin,
            window.input,
            strict=True,
        )
    ]
    end = [max(pad, more) for pad, more in zip(window.pads_end, reach, strict=True)]
    widths = [(0, 0), (0, 0), *zip(window.pads_begin, end, strict=True)]
    return np.pad(x, widths, constant_values=x.dtype.type(fill))


def taps(padded: AnyArray, window: Window) -> Iterator[tuple[tuple[int, ...], AnyArray]]:
    """Each position in the window with the [N, C, output...] view that it sees."""
    for tap in np.ndindex(*window.kernel):
        box = tuple(
            slice(t * dilation, t * dilation + (out - 1) * stride + 1, stride)
            for t, dilation, out, stride in zip(
                tap, window.dilations, window.output, window.strides, strict=True
            )
        )
        yield tap, padded[(slice(None), slice(None), *box)]


def convolve(x: AnyArray, weight: AnyArray, window: Window, groups: int) -> AnyArray:
    """Convolution with zero padding, accumulated in float64.

    Args:
        x: [N, C, spatial...], whole or real numbers.
        weight: [M, C/groups, taps...].
        window: its geometry.
        groups: of channels.

    Returns:
        float64 [N, M, output...].
    """
    batch, channels = x.shape[:2]
    filters, per_group = weight.shape[:2]
    padded = pad_windows(x.astype(np.float64), window, 0)
    points = int(np.prod(window.output))
    total = np.zeros((batch, groups, filters // groups, points))
    real: AnyArray = weight.astype(np.float64).reshape(
        groups, filters // groups, *weight.shape[1:]
    )
    for tap, seen in taps(padded, window):
        columns = seen.reshape(batch, groups, channels // groups, points)
        index: tuple[Any, ...] = (..., *tap)
        kernel = real[index]
        if per_group == 1:
            total += kernel * columns
        else:
            total += kernel @ columns
    return total.reshape(batch, filters, *window.output)


def window_sum(x: AnyArray, window: Window) -> AnyArray:
    """int64 sums over windows of whole numbers, padding counted as 0."""
    padded = pad_windows(x.astype(np.int64), window, 0)
    total = np.zeros((*x.shape[:2], *window.output), np.int64)
    for _, seen in taps(padded, window):
        total += seen
    return total


def window_maximum(x: AnyArray, window: Window) -> AnyArray:
    """Greatest stored number of each window; padding never wins."""
    least = int(np.iinfo(x.dtype).min)
    padded = pad_windows(x, window, least)
    result = np.full((*x.shape[:2], *window.output), least, x.dtype)
    for _, seen in taps(padded, window):
        np.maximum(result, seen, out=result)
    return result
