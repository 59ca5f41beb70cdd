"""8-bit weights that are whole multiples of 4-bit ones, a multiple for each 32 inputs of an output.

Scales of groups that are 1 to 15 times one scale make such weights (graph/grouped_scales.py): numbers
within int8, of which memory holds 4 bits each and a multiple for each 32. The multiples are found in
the numbers themselves: any that divide a group of them into 4 bits will do.
"""

import numpy as np

from edgecomp.plan.values import Array
from edgecomp.schedules.cpu.int4_code import GREATEST, LEAST

#: Inputs that share a multiple, and the largest.
GROUP, LARGEST = 32, 15


def multiples_of(weight: Array) -> Array | None:
    """A multiple for each group: uint8 [..., K / 32]; None where some group has none.

    Args:
        weight: int8 [..., K], K a multiple of 32.
    """
    groups = weight.reshape(*weight.shape[:-1], -1, GROUP)
    found = np.zeros(groups.shape[:-1], np.uint8)
    low, high = groups.min(axis=-1, initial=0), groups.max(axis=-1, initial=0)
    for multiple in range(LARGEST, 0, -1):
        fits = (high <= GREATEST * multiple) & (low >= LEAST * multiple) & (found == 0)
        if fits.any():
            fits[fits] = ~(groups[fits] % np.int8(multiple)).any(axis=-1)
            found[fits] = multiple
    return found if found.all() else None


def holds_groups(weight: Array) -> bool:
    """Whether weights [columns, K] are such numbers."""
    return weight.shape[-1] % GROUP == 0 and multiples_of(weight) is not None


def divided(weight: Array) -> tuple[Array, Array]:
    """Numbers of 4 bits, int8 [..., K], and the multiples, uint8 [..., K / 32].

    Args:
        weight: for which ``holds_groups``.
    """
    multiples = multiples_of(weight)
    assert multiples is not None
    spread = np.repeat(multiples, GROUP, axis=-1).astype(np.int8)
    return weight // spread, multiples
