"""A model with dynamic dimensions at several sizes: those that decide its program, and golden ones.

The steps before lowering know one size at a time. A model with bounded dimensions goes through
them at the largest sizes, and once more at each of a few others; lowering compares what came out.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.dynamic_dimensions import dynamic_inputs
from edgecomp.graph.counts import counted_dimensions
from edgecomp.lower.lower import Variant
from edgecomp.plan.sizes import Symbol

#: Sizes beside the largest that a program is made from: more than expressions have unknowns.
_VARIANTS = 5
_NEIGHBOURS = _VARIANTS - 1
#: At 1 and 2 a model may do special things, which say nothing about the other sizes.
_LEAST_TYPICAL = 3


def symbols_of(model: ir.Model) -> tuple[Symbol, ...]:
    """The symbols of a model's bounded and counted dimensions; none for a static model.

    A symbol counts steps: a dimension of ``[32..640:32]`` is 32 times one of 1 to 20, so that
    halves and quarters of it are products again.

    Args:
        model: at the largest sizes.

    Raises:
        EdgecompError: DIMENSION_FREE naming a counted dimension that never has an element.
    """
    for each in counted_dimensions(model):
        if each.maximum == 0:
            raise EdgecompError(
                Code.DIMENSION_FREE,
                f"dimension '{each.name}' is counted and never has an element",
                node=each.name,
                hint="leave out of the model what makes it",
            )
    found = dynamic_inputs(model)
    given = sorted(found.bounds.items()) if found is not None else []
    return (
        *(
            Symbol(
                name,
                bounds.minimum // bounds.step,
                bounds.maximum // bounds.step,
                step=bounds.step,
            )
            for name, bounds in given
        ),
        *(
            Symbol(each.name, each.minimum, each.maximum, is_counted=True)
            for each in counted_dimensions(model)
        ),
    )


def variants_of(
    symbols: Sequence[Symbol], at_sizes: Callable[[Mapping[str, int]], ir.Model]
) -> Iterator[Variant]:
    """The model at typical sizes, one at a time: each has all weights.

    Args:
        symbols: of the model.
        at_sizes: reads the model at sizes by name.
    """
    for sizes in typical_sizes(symbols):
        yield Variant({s: sizes[s.name] // s.step for s in symbols}, at_sizes(sizes))


def typical_sizes(symbols: Sequence[Symbol]) -> list[dict[str, int]]:
    """Sizes that differ from each other in every symbol, inside of the bounds where they can.

    Four of them are neighbours, around a multiple of a great power of two where the bounds have
    one: there every quotient by a power of two that is rounded up or down steps, and is odd on
    one side. Bounds too close to hold as many are left upwards: a model that cannot be read there
    is refused with the reason.
    """
    columns: list[tuple[int, ...]] = []
    taken: set[int] = set()
    for number, symbol in enumerate(symbols):
        small, *row = _spread(symbol, taken)
        # Each symbol in another order, so that they do not grow together.
        order = next(itertools.islice(itertools.permutations(row), number % 24, None))
        columns.append((small, *order))
        taken.update(columns[-1])
    return [
        {
            symbol.name: column[k] * symbol.step
            for symbol, column in zip(symbols, columns, strict=True)
        }
        for k in range(_VARIANTS)
    ]


def _spread(symbol: Symbol, taken: set[int]) -> list[int]:
    """A small size, then neighbours somewhere in the middle; none of them ``taken``."""
    low, high = max(symbol.minimum, _LEAST_TYPICAL), symbol.maximum
    for start in _starts(low, high):
        row = range(start, start + _NEIGHBOURS)
        if start >= low and not {*row} & taken:
            break
    small = next(n for n in itertools.count(low) if n not in {*row, *taken, high})
    return [small, *row]


def _starts(low: int, high: int) -> Iterator[int]:
    """Where neighbours may begin: around odd multiples of powers of two, great ones first."""
    for power in (64, 32, 16, 8, 4, 2):
        middles = [m for m in range(power, high + 1, 2 * power) if m >= high // 3]
        for middle in middles:
            if middle - 1 >= low and middle + _NEIGHBOURS - 2 < high:
                yield middle - 1
    yield from range(low, high - _NEIGHBOURS + 1)
    yield from itertools.count(high + 1)


def golden_sizes(symbols: Sequence[Symbol]) -> list[dict[str, int]]:
    """Sizes that golden vectors are kept for, beside the largest: the smallest and an odd one.

    Counted dimensions stay at the largest: golden vectors have the counts of their data.
    """
    given = [symbol for symbol in symbols if not symbol.is_counted]
    largest = {symbol.name: symbol.maximum * symbol.step for symbol in symbols}
    smallest = {**largest, **{symbol.name: symbol.minimum * symbol.step for symbol in given}}
    middle = {
        symbol.name: symbol.step
        * max(symbol.minimum, min(symbol.maximum, (symbol.maximum // 3) | 1))
        for symbol in given
    }
    middle = {**largest, **middle}
    return [sizes for sizes in (smallest, middle) if sizes != largest]
