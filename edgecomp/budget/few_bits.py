"""What groups cost whose weights alone are stored in few bits."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

from edgecomp.budget.problem import Group, Groups
from edgecomp.options import WEIGHT_BITS
from edgecomp.plan.prices import Price

#: Bytes of a scale.
_SCALE = 4


def with_few_bits(
    groups: Groups,
    shapes: Mapping[str, tuple[int, int]],
    precisions: Collection[str],
    time: Callable[[str, Group], float],
    block: int,
) -> Groups:
    """Give groups the further forms that they can have.

    Args:
        groups: in float and in integers.
        shapes: of matrices [K, N], by the name of a product that can have few bits.
        precisions: of ``WEIGHT_BITS``.
        time: of a group with such weights, in parts of the time in float.
        block: weights that share a scale.
    """
    changed = []
    for group in groups.groups:
        products = [name for name in group.nodes if name in shapes]
        few = {}
        for precision in precisions if len(products) == 1 else ():
            depth, columns = shapes[products[0]]
            saved = 4 * depth * columns - _packed_bytes(depth, columns, precision, block)
            seconds = group.float_seconds * time(precision, group)
            few[precision] = (group.float_bytes - saved, seconds)
        changed.append(dataclasses.replace(group, few=few))
    return dataclasses.replace(groups, groups=tuple(changed))


def _packed_bytes(depth: int, columns: int, precision: str, block: int) -> int:
    """Of a matrix of 8 or 4 bits with a scale for each block of a column."""
    numbers = -(-depth * columns * WEIGHT_BITS[precision] // 8)
    return numbers + -(-depth // block) * columns * _SCALE


def time_ratio(
    plain: Sequence[Price], packed: Mapping[str, Sequence[Price]]
) -> Callable[[str, Group], float]:
    """``time`` for ``with_few_bits`` from what a target's prices say of whole models.

    Args:
        plain: of the float model.
        packed: of the model with all weights in few bits, by precision.
    """

    def modelled(prices: Sequence[Price], group: Group) -> float:
        nodes = set(group.nodes)
        return sum(price.modelled for price in prices if nodes & set(price.nodes))

    def time(precision: str, group: Group) -> float:
        before = modelled(plain, group)
        return modelled(packed[precision], group) / before if before else 1.0

    return time
