"""A model with dynamic dimensions at several sizes: those that decide its program, and golden ones.

The steps before lowering know one size at a time. A model with bounded dimensions goes through
them at the largest sizes, and once more at each of a few others; lowering compares what came out.
"""

from collections.abc import Sequence

import onnx_ir as ir

from edgecomp.frontend.dynamic_dimensions import dynamic_inputs
from edgecomp.plan.sizes import Symbol

#: Sizes beside the largest that a program is made from, and one more than expressions need.
_VARIANTS = 4
#: Sizes at which a model may do special things, which say nothing about the others.
_LEAST_TYPICAL = 5


def symbols_of(model: ir.Model) -> tuple[Symbol, ...]:
    """The symbols of a model's bounded dimensions, by name; none for a static model."""
    found = dynamic_inputs(model)
    if found is None:
        return ()
    return tuple(
        Symbol(name, bounds.minimum, bounds.maximum)
        for name, bounds in sorted(found.bounds.items())
    )


def typical_sizes(symbols: Sequence[Symbol]) -> list[dict[str, int]]:
    """Sizes that differ from each other in every symbol, inside of the bounds where they can.

    Bounds too close to hold as many are left upwards: a model that cannot be read there is
    refused with the reason.
    """
    columns: list[list[int]] = []
    taken: set[int] = set()
    for symbol in symbols:
        columns.append(_spread(symbol, taken))
        taken.update(columns[-1])
    return [
        {symbol.name: column[k] for symbol, column in zip(symbols, columns, strict=True)}
        for k in range(_VARIANTS)
    ]


def _spread(symbol: Symbol, taken: set[int]) -> list[int]:
    """Primes over the range where there are enough, none of them ``taken``."""
    low, high = max(symbol.minimum, _LEAST_TYPICAL), symbol.maximum
    inside = [n for n in range(low, high) if _is_prime(n) and n not in taken]
    if len(inside) > _VARIANTS:
        step = (len(inside) - 1) / (_VARIANTS - 1)
        return [inside[round(k * step)] for k in range(_VARIANTS)]
    others = [n for n in range(max(2, symbol.minimum), high) if n not in (*inside, *taken)]
    found = [*inside, *reversed(others)][:_VARIANTS]
    above = high
    while len(found) < _VARIANTS:
        above += 1
        if _is_prime(above) and above not in taken:
            found.append(above)
    return found


def golden_sizes(symbols: Sequence[Symbol]) -> list[dict[str, int]]:
    """Sizes that golden vectors are kept for, beside the largest: the smallest and an odd one."""
    smallest = {symbol.name: symbol.minimum for symbol in symbols}
    middle = {
        symbol.name: max(symbol.minimum, min(symbol.maximum, (symbol.maximum // 3) | 1))
        for symbol in symbols
    }
    largest = {symbol.name: symbol.maximum for symbol in symbols}
    return [sizes for sizes in (smallest, middle) if sizes != largest]


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))
