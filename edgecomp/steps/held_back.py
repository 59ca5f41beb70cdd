"""Samples that decide between ways of quantizing, apart from those that the ways were made from."""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

from edgecomp.calibrate.identity import can_be_read_again
from edgecomp.options import QuantizeOptions
from edgecomp.plan.values import Array
from edgecomp.recipe.recipe import Recipe

#: Fewer samples cannot tell.
LEAST_SAMPLES = 24
_MOST_SAMPLES = 48
#: Of so many samples one is held back.
_HELD_BACK = 3
#: Samples beyond this are not kept.
_MOST_BYTES = 256 << 20

Feed = Mapping[str, Array]


def decides_by_itself(options: QuantizeOptions, recipe: Recipe) -> bool:
    """Whether samples that are held back may decide what nobody asked for."""
    by_recipe = options.recipe is not None or bool(recipe.steps)
    return options.precision == "w8a8" and not options.data_free and not by_recipe


@dataclasses.dataclass(frozen=True)
class Split:
    """Samples in two parts; both are empty where there are too few.

    Attributes:
        held: that decide, every third.
        others: that something is made from.
    """

    held: tuple[Feed, ...] = ()
    others: tuple[Feed, ...] = ()


def hold_back(samples: Iterable[Feed]) -> Split:
    """Read the first samples, as many as are needed and as fit into memory."""
    if not can_be_read_again(samples):
        return Split()
    feeds: list[Feed] = []
    size = 0
    for feed in itertools.islice(samples, _MOST_SAMPLES):
        size += sum(array.nbytes for array in feed.values())
        if size > _MOST_BYTES:
            break
        feeds.append(feed)
    if len(feeds) < LEAST_SAMPLES:
        return Split()
    last = _HELD_BACK - 1
    return Split(
        tuple(feeds[last::_HELD_BACK]),
        tuple(feed for i, feed in enumerate(feeds) if i % _HELD_BACK != last),
    )
