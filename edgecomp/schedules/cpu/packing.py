"""Constants in the order in which dense kernels read them, by numpy at build time."""

import numpy as np

from edgecomp.plan.values import Array
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.tiles import Split


def pack_weights(weights: Array, vectors: Split, arithmetic: Arithmetic) -> Array:
    """Weights of a product.

    Args:
        weights: [groups, columns, runs, run length].
        vectors: of the columns into blocks.
        arithmetic: gives lanes and group.

    Returns:
        Flat: per group and column block [runs][run length / group][block columns][group]
        (within a block as ``arithmetic.arrange`` says), zeros where columns or run are padded.
    """
    groups, columns, runs, length = weights.shape
    lanes, group = arithmetic.lanes, arithmetic.group
    padding = ((0, 0), (0, vectors.extent * lanes - columns), (0, 0), (0, -length % group))
    full = weights.astype(arithmetic.weight_dtype, copy=False)
    if any(after for _, after in padding):
        full = np.pad(full, padding)
    full = full.reshape(groups, vectors.extent * lanes, runs, -1, group)
    packed = np.empty(
        full.size // arithmetic.weights_per_element, full.dtype
    )  # large weights are in memory no more than twice
    end = 0
    for g in range(groups):
        for start, size in vectors.starts():
            block = full[g, start * lanes : (start + size) * lanes]
            part = arithmetic.arrange(block.transpose(1, 2, 0, 3))
            packed[end : end + part.size] = part
            end += part.size
    assert end == packed.size
    return packed


def pad_columns(values: Array, padded: int) -> Array:
    """[groups, columns] to [groups, padded], flat, zeros behind each group."""
    return np.pad(values, ((0, 0), (0, padded - values.shape[1]))).reshape(-1)
