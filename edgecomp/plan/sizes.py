"""Sizes that are known only when a model runs: polynomials of a few bounded symbols.

In the program of a model with dynamic dimensions a shape may hold a ``Size`` where a static one
has an ``int``. A ``Size`` adds, subtracts, multiplies and compares for equality; nothing else.
Code that was written for numbers therefore fails loudly instead of taking one size for all:
there is no order, no conversion to ``int``, and a division must be exact.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Symbol:
    """A number that is fixed before a run, or by a call of it before all calls that use it.

    Attributes:
        name: of the dimension, as in the model or made from the value's name and position.
        minimum, maximum: bounds, both included; at least 1 where an input gives the symbol.
        numerator: of a derived symbol, whose value is ``floor(numerator / divisor)``, but at
            most the maximum; None for other symbols.
        divisor: see ``numerator``.
        is_counted: whether an operation gives the value while the model runs.
        step: of the dimension that gives the symbol, whose size is ``step`` times the value.
    """

    name: str
    minimum: int
    maximum: int
    numerator: "Dimension | None" = None
    divisor: int = 1
    is_counted: bool = False
    step: int = 1


#: Symbols of one product, sorted by name, repeated for powers.
Monomial = tuple[Symbol, ...]
#: One dimension of a shape.
Dimension = Any  # int | Size; declared so because shapes of static programs are tuples of int


class Size:
    """A polynomial of symbols with integer factors; never a constant (that is an ``int``)."""

    __slots__ = ("terms",)

    def __init__(self, terms: tuple[tuple[Monomial, int], ...]) -> None:
        self.terms = terms

    @staticmethod
    def of(symbol: Symbol) -> "Size":
        """The symbol itself."""
        return Size((((symbol,), 1),))

    def __repr__(self) -> str:
        return f"Size({self})"

    def __str__(self) -> str:
        texts = []
        for monomial, factor in self.terms:
            names = [symbol.name for symbol in monomial]
            texts.append(
                "*".join([str(factor), *names] if factor != 1 or not names else names)
            )
        return "+".join(texts).replace("+-", "-")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Size) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __add__(self, other: Dimension) -> Dimension:
        return _sum([*self.terms, *_terms(other)])

    def __radd__(self, other: Dimension) -> Dimension:
        return self + other

    def __neg__(self) -> Dimension:
        return self * -1

    def __sub__(self, other: Dimension) -> Dimension:
        return self + other * -1

    def __rsub__(self, other: Dimension) -> Dimension:
        return self * -1 + other

    def __mul__(self, other: Dimension) -> Dimension:
        return _sum(
            (tuple(sorted(a + b, key=_name)), x * y)
            for a, x in self.terms
            for b, y in _terms(other)
        )

    def __rmul__(self, other: Dimension) -> Dimension:
        return self * other

    def __floordiv__(self, other: Dimension) -> Dimension:
        """An exact quotient.

        Raises:
            TypeError: where it is not exact for every value of the symbols.
        """
        quotient = exact_quotient(self, other)
        if quotient is None:
            raise TypeError(f"{self} is no multiple of {other}")
        return quotient

    def __rfloordiv__(self, other: Dimension) -> Dimension:
        quotient = exact_quotient(other, self)
        if quotient is None:
            raise TypeError(f"{other} is no multiple of {self}")
        return quotient


def exact_quotient(number: Dimension, by: Dimension) -> Dimension | None:
    """``number / by`` for a ``by`` of one term; None where that is no polynomial."""
    ((divisor, by_factor),) = _terms(by) if len(_terms(by)) == 1 else (((), 0),)
    if not by_factor:
        return None
    terms = []
    for monomial, factor in _terms(number):
        left = list(monomial)
        for symbol in divisor:
            if symbol not in left:
                return None
            left.remove(symbol)
        if factor % by_factor:
            return None
        terms.append((tuple(left), factor // by_factor))
    return _sum(terms)


def is_dynamic(dimension: Dimension) -> bool:
    """Whether a dimension differs from run to run."""
    return isinstance(dimension, Size)


def has_dynamic(shape: Iterable[Dimension]) -> bool:
    """Whether a shape has a dimension that differs from run to run."""
    return any(map(is_dynamic, shape))


def evaluate(dimension: Dimension, values: Mapping[Symbol, int]) -> int:
    """The number for given symbols; derived ones are computed."""
    return sum(
        factor * math.prod(_value(symbol, values) for symbol in monomial)
        for monomial, factor in _terms(dimension)
    )


def largest(dimension: Dimension) -> int:
    """An upper bound, reached where all factors are positive."""
    return _bound(dimension, upper=True)


def smallest(dimension: Dimension) -> int:
    """A lower bound, reached where all factors are positive."""
    return _bound(dimension, upper=False)


def reached(dimension: Dimension) -> int:
    """The value where every given symbol is at its maximum: a value's memory holds so many.

    Of ``(h - 2) * (w - 2)`` rows ``largest`` is more than there ever are.
    """
    given = (symbol for symbol in symbols_of(dimension) if symbol.numerator is None)
    return evaluate(dimension, {symbol: symbol.maximum for symbol in given})


def largest_shape(shape: Iterable[Dimension]) -> tuple[int, ...]:
    """The upper bound of every dimension."""
    return tuple(map(largest, shape))


def greatest(dimension: Dimension) -> int:
    """The greatest value that a dimension of one given symbol has; ``largest`` of others.

    ``largest`` takes the terms one by one: of ``2 * floor((w + 1) / 2) - w`` it says far more
    than there is.
    """
    return max(values_of(dimension))


def values_of(dimension: Dimension) -> Sequence[int]:
    """Every value of a dimension of one given symbol; all between the bounds of others."""
    given = {symbol for symbol in symbols_of(dimension) if symbol.numerator is None}
    if len(given) != 1:
        return range(smallest(dimension), largest(dimension) + 1)
    (symbol,) = given
    values = range(symbol.minimum, symbol.maximum + 1)
    return [evaluate(dimension, {symbol: value}) for value in values]


def symbols_of(dimension: Dimension) -> Iterator[Symbol]:
    """Every symbol that a dimension depends on, those before derived ones first."""
    for monomial, _ in _terms(dimension):
        for symbol in monomial:
            if symbol.numerator is not None:
                yield from symbols_of(symbol.numerator)
            yield symbol


@functools.cache
def _derived(symbol: Symbol) -> Size:
    return Size.of(symbol)


def quotient(numerator: Dimension, divisor: int) -> Dimension:
    """``floor(numerator / divisor)``.

    Whole multiples of the divisor are taken out, so that equal quotients are the same symbol, and
    as many are put in that no numerator is negative: the runtime divides those alone.
    """
    whole = _sum(
        (monomial, factor // divisor)
        for monomial, factor in _terms(numerator)
        if factor > 0 or not monomial
    )
    rest = numerator - whole * divisor
    exact = exact_quotient(rest, divisor)
    if exact is not None:
        return whole + exact
    if not isinstance(rest, Size):
        return whole
    inner = _quotient_and_rest(rest)
    if inner is not None:
        # floor((floor(n / a) + c) / b) = floor((n + a * c) / (a * b))
        symbol, shift = inner
        outer: Dimension = symbol.numerator
        return whole + quotient(outer + symbol.divisor * shift, symbol.divisor * divisor)
    below = min(0, smallest(rest) // divisor)
    rest = rest - below * divisor
    low, high = smallest(rest) // divisor, largest(rest) // divisor
    return whole + below + _derived(Symbol(f"({rest})/{divisor}", low, high, rest, divisor))


def capped(dimension: Dimension, most: int) -> Dimension:
    """The smaller one of a dimension, which is never negative, and a number."""
    name = f"min({dimension},{most})"
    low = min(max(0, smallest(dimension)), most)
    return _derived(Symbol(name, low, most, dimension))


def _quotient_and_rest(dimension: Dimension) -> tuple[Symbol, int] | None:
    """(symbol, c) of a dimension that is a derived symbol and c more; else None."""
    rest, found = 0, None
    for monomial, factor in _terms(dimension):
        if not monomial:
            rest = factor
        elif found is None and factor == 1 and len(monomial) == 1:
            found = monomial[0]
        else:
            return None
    if found is None or found.numerator is None:
        return None
    if _is_cap(found):
        return None
    return found, rest


def _is_cap(symbol: Symbol) -> bool:
    """Whether a derived symbol is less than its quotient somewhere inside of the bounds."""
    return symbol.maximum < largest(symbol.numerator) // symbol.divisor


def terms_of(dimension: Dimension) -> tuple[tuple[Monomial, int], ...]:
    """Products of symbols and their factors."""
    return _terms(dimension)


def _bound(dimension: Dimension, *, upper: bool) -> int:
    total = 0
    for monomial, factor in _terms(dimension):
        high = upper == (factor > 0)
        total += factor * math.prod(s.maximum if high else s.minimum for s in monomial)
    return total


def _value(symbol: Symbol, values: Mapping[Symbol, int]) -> int:
    if symbol.numerator is None:
        return values[symbol]
    value = evaluate(symbol.numerator, values) // symbol.divisor
    # Models are read at sizes beyond close bounds: there a quotient goes on, and a cap does not.
    return min(value, symbol.maximum) if _is_cap(symbol) else value


def _terms(dimension: Dimension) -> tuple[tuple[Monomial, int], ...]:
    if isinstance(dimension, Size):
        return dimension.terms
    if not isinstance(dimension, int):
        raise TypeError(f"{dimension!r} is no size")
    return (((), dimension),)


def _sum(terms: Iterable[tuple[Monomial, int]]) -> Dimension:
    total: dict[Monomial, int] = {}
    for monomial, factor in terms:
        total[monomial] = total.get(monomial, 0) + factor
    kept = sorted(
        ((monomial, factor) for monomial, factor in total.items() if factor),
        key=lambda term: (-len(term[0]), [_name(s) for s in term[0]]),
    )
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    return Size(tuple(kept))


def _name(symbol: Symbol) -> str:
    return symbol.name
