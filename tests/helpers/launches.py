"""Launches of a GPU's kernels at the sizes of a run, as the runtime makes them."""

import numpy as np

from edgecomp.plan.sizes import evaluate
from edgecomp.plan.values import SLACK_BYTES, largest_bytes

#: What nobody has written, and what lies behind the contents of a buffer: 3.4e38 as float32, no number
#: as float16, and no result of either.
PATTERN, BEHIND = 0xA5, 0x7F


def groups_of(call, sizes):
    """Groups of work items that start, in three dimensions; None where there are none.

    Args:
        call: of a kernel.
        sizes: of the symbols: dict[Symbol, int].
    """
    most = zip(call.launch.global_sizes, call.launch.local_sizes, strict=True)
    most = [items // group for items, group in most]
    if call.dynamic is None:
        return most
    groups = [evaluate(number, sizes) // divisor for number, divisor in call.dynamic.groups]
    assert all(0 <= count <= bound for count, bound in zip(groups, most, strict=True))
    return groups if all(groups) else None


def numbers_of(call, sizes):
    """Last arguments of a kernel."""
    return [evaluate(size, sizes) for size in call.dynamic.sizes] if call.dynamic else []


def empty(value, sizes):
    """A buffer of a value that nobody has written."""
    return np.full(evaluate(value.bytes, sizes), PATTERN, np.uint8).view(value.stored)


def bytes_behind(argument, contents):
    """Of a buffer of which a kernel writes nothing: there is room for the largest size."""
    most = largest_bytes(argument) if hasattr(argument, "shape") else contents.nbytes
    return max(0, most - contents.nbytes) + SLACK_BYTES
