"""The smallest set of layers that has an effect: grow a prefix, then leave out what can be."""

from collections.abc import Callable, Sequence

Restored = Callable[[frozenset[str]], bool]


def smallest_set(order: Sequence[str], restored: Restored) -> list[str] | None:
    """Names of which none can be left out, None where not even all of them are enough.

    The first names that are enough together are found by halving, then parts of them are left
    out, from halves down to single ones, until every single one is needed (Zeller and
    Hildebrandt, "Simplifying and isolating failure-inducing input", 2002). Where the effect does
    not grow with the set there may be a smaller one that this does not find.

    Args:
        order: names, those with the largest effect first.
        restored: whether a set is enough; asked once for each set.
    """
    known: dict[frozenset[str], bool] = {}

    def enough(names: Sequence[str]) -> bool:
        key = frozenset(names)
        if key not in known:
            known[key] = restored(key)
        return known[key]

    count = _shortest_prefix(order, enough)
    return None if count is None else _without_spare(list(order[:count]), enough)


def _shortest_prefix(
    order: Sequence[str], enough: Callable[[Sequence[str]], bool]
) -> int | None:
    """How many of the first names are enough: doubled, then halved."""
    low, high = -1, 0
    while not enough(order[:high]):
        if high == len(order):
            return None
        low, high = high, min(len(order), max(1, 2 * high))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(order[:middle]) else (middle, high)
    return high


def _without_spare(names: list[str], enough: Callable[[Sequence[str]], bool]) -> list[str]:
    size = len(names) // 2
    while names:
        size = max(1, min(size, len(names)))
        left_out = False
        # From the end: the names with the least effect first.
        for start in range((len(names) - 1) // size * size, -1, -size):
            rest = names[:start] + names[start + size :]
            if enough(rest):
                names, left_out = rest, True
        if size == 1 and not left_out:
            break
        size = size // 2 or 1
    return names
