"""Heads of attention in the tensor that holds them side by side."""

import numpy as np

from edgecomp.plan.values import View


def heads_of(value, heads):
    """[batch, rows, heads * n] as [batch, heads, rows, n], where it lies."""
    batch, rows, width = value.shape
    each = width // heads
    strides = (rows * width, each, width, 1)
    return View((batch, heads, rows, each), strides, 0, batch * rows * width)


def split(array, heads, dtype=np.float64):
    """The same of numbers, in the type that a reference computes in."""
    return array.reshape(*array.shape[:2], heads, -1).swapaxes(1, 2).astype(dtype)
