"""A number that was seen at several sizes, as an expression of the symbols.

Models are read at some sizes, and their programs compared (``generalize``). A number that
differs between them is written as the simplest expression that gives all of them: a factor times
a product of symbols, a sum of two such terms, the smaller one of a size and a number, or a
quotient rounded down as strides make it.
There are more sizes than an expression has unknowns, so that one which fits by chance is as good
as excluded; of quotients every one that fits is looked at. Where several of a symbol fit, strides
behind strides as in images, a number is written as a small quotient of one that is known already.
A number may be what a window makes of another dimension at all sizes that were seen: an operation's
own extents come first, and of others one that fits a quotient of another symbol as well is none.
"""

import functools
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from edgecomp.plan.sizes import (
    Dimension,
    Size,
    Symbol,
    capped,
    evaluate,
    quotient,
    symbols_of,
)

#: Symbols of one product, at most.
_MOST_DEGREE = 4
#: Strides of windows and factors of resizes.
_DIVISORS = range(2, 65)
#: Strides of one window.
_SMALL_DIVISORS = range(2, 5)

#: Value of every symbol at one of the sizes.
Sizes = Mapping[Symbol, int]


class SizeFit:
    """Expressions of one program: what was found so far helps with what comes behind.

    Attributes:
        sizes: values of all symbols, the same symbols in each.
        near: extents of the operation that is looked at; a number that is one of them is that one.
    """

    def __init__(self, sizes: Sequence[Sizes]) -> None:
        self.sizes = sizes
        self.near: Collection[Dimension] = ()
        self._known: list[Symbol] = []
        self._proposed: dict[tuple[int, ...], Dimension] = {}

    def propose(self, numbers: Sequence[int], size: Dimension) -> None:
        """Take an expression for these numbers from now on, if it gives them."""
        if len(set(numbers)) > 1 and self.gives(size, numbers):
            self._proposed.setdefault(tuple(numbers), size)

    def gives(self, size: Dimension, numbers: Sequence[int]) -> bool:
        """Whether an expression has these values."""
        return all(evaluate(size, at) == n for at, n in zip(self.sizes, numbers, strict=True))

    def find(self, numbers: Sequence[int]) -> Dimension | None:
        """The expression that is ``numbers[k]`` at ``sizes[k]``, None where none is found."""
        own = {extent for extent in self.near if self.gives(extent, numbers)}
        if len(own) == 1:
            return own.pop()
        found = self._proposed.get(tuple(numbers))
        if found is not None and self._fits_another(numbers, found):
            return None
        if found is None:
            found = fit_size(numbers, self.sizes)
        if found is None:
            found = _fit_to_known(numbers, self.sizes, self._known)
        self.note(found)
        return found

    def note(self, size: Dimension | None) -> None:
        """Know the derived symbols of an expression from now on."""
        if isinstance(size, Size):
            for monomial, _ in size.terms:
                for symbol in monomial:
                    if symbol.numerator is not None and symbol not in self._known:
                        self._known.append(symbol)

    def _fits_another(self, numbers: Sequence[int], found: Dimension) -> bool:
        """Whether a quotient of a symbol that an expression does not have gives the numbers too."""
        own = set(symbols_of(found))
        return any(
            any(_fitting_quotients(numbers, [at[symbol] for at in self.sizes]))
            for symbol in self.sizes[0]
            if symbol not in own
        )


def fit_size(numbers: Sequence[int], sizes: Sequence[Sizes]) -> Dimension | None:
    """The expression that is ``numbers[k]`` at ``sizes[k]``, None where none is found.

    Args:
        numbers: seen, one per sizes.
        sizes: values of all symbols, the same symbols in each.
    """
    if len(set(numbers)) == 1:
        return numbers[0]
    return _fit(tuple(numbers), tuple(tuple(values.items()) for values in sizes))


def _fit_to_known(
    numbers: Sequence[int], sizes: Sequence[Sizes], known: Sequence[Symbol]
) -> Dimension | None:
    """An expression of derived symbols: a product of them, a small quotient of one, a sum."""
    values = {symbol: [evaluate(Size.of(symbol), at) for at in sizes] for symbol in known}
    given = [(Size.of(symbol), [at[symbol] for at in sizes]) for symbol in sizes[0]]
    single = [(Size.of(symbol), own) for symbol, own in values.items()]
    bases = [*single, *given]
    products = [
        (a * b, [x * y for x, y in zip(xs, ys, strict=True)])
        for (a, xs), (b, ys) in itertools.combinations_with_replacement(bases, 2)
    ]
    terms: list[tuple[Dimension, list[int]]] = [(1, [1] * len(sizes)), *bases, *products]
    found = _one_term(numbers, terms)
    if found is None:
        found = _quotient_of_known(numbers, values)
    return _two_terms(numbers, terms) if found is None else found


def _quotient_of_known(
    numbers: Sequence[int], values: Mapping[Symbol, list[int]]
) -> Dimension | None:
    """``factor * floor((known + shift) / divisor)``, the smallest symbol's first."""
    for symbol in sorted(values, key=lambda symbol: symbol.maximum):
        fitting = list(_fitting_quotients(numbers, values[symbol], _SMALL_DIVISORS))
        if fitting:
            factor, shift, divisor = fitting[0]
            unique = _all_alike(fitting, symbol)
            return quotient(Size.of(symbol) + shift, divisor) * factor if unique else None
    return None


def _all_alike(fitting: Sequence[tuple[int, int, int]], symbol: Symbol) -> bool:
    """Whether quotients are the same at every value of a symbol."""
    return all(
        len({f * ((value + t) // d) for f, t, d in fitting}) == 1
        for value in range(symbol.minimum, symbol.maximum + 1)
    )


@functools.lru_cache(maxsize=4096)
def _fit(
    numbers: tuple[int, ...], sizes: tuple[tuple[tuple[Symbol, int], ...], ...]
) -> Dimension | None:
    seen = [dict(values) for values in sizes]
    products = list(_products([symbol for symbol, _ in sizes[0]], seen))
    found = _one_term(numbers, products)
    if found is None:
        found = _two_terms(numbers, products)
    if found is None:
        found = _capped(numbers, seen)
    return _rounded(numbers, seen) if found is None else found


def _products(
    symbols: Sequence[Symbol], seen: Sequence[Sizes]
) -> Iterator[tuple[Dimension, list[int]]]:
    """Products of symbols, those of fewest first, with their values; the first one is 1."""
    for degree in range(_MOST_DEGREE + 1):
        for chosen in itertools.combinations_with_replacement(symbols, degree):
            expression: Dimension = 1
            for symbol in chosen:
                expression = expression * Size.of(symbol)
            yield expression, [math.prod(sizes[s] for s in chosen) for sizes in seen]


def _one_term(
    numbers: Sequence[int], products: Sequence[tuple[Dimension, list[int]]]
) -> Dimension | None:
    for expression, values in products:
        factor = numbers[0] // values[0]
        if all(n == factor * v for n, v in zip(numbers, values, strict=True)):
            return expression * factor
    return None


def _two_terms(
    numbers: Sequence[int], products: Sequence[tuple[Dimension, list[int]]]
) -> Dimension | None:
    """``a * P + b * Q``: a and b from the first two sizes, checked at the others."""
    for (q, q_values), (p, p_values) in itertools.combinations(products, 2):
        solution = _solve(numbers, p_values, q_values)
        if solution is not None:
            return p * solution[0] + q * solution[1]
    return None


def _solve(
    numbers: Sequence[int], p: Sequence[int], q: Sequence[int]
) -> tuple[int, int] | None:
    for other in range(1, len(numbers)):
        determinant = p[0] * q[other] - p[other] * q[0]
        if determinant:
            a, a_rest = divmod(numbers[0] * q[other] - numbers[other] * q[0], determinant)
            b, b_rest = divmod(p[0] * numbers[other] - p[other] * numbers[0], determinant)
            fits = not a_rest and not b_rest
            if fits and all(n == a * x + b * y for n, x, y in zip(numbers, p, q, strict=True)):
                return a, b
            return None
    return None


def _capped(numbers: Sequence[int], seen: Sequence[Sizes]) -> Dimension | None:
    """``min(symbol + shift, number)``: the largest number seen is the cap."""
    cap = max(numbers)
    fitting = [symbol + shift for symbol, shift in _shifts(numbers, seen, cap)]
    return capped(fitting[0], cap) if len(fitting) == 1 else None


def _shifts(
    numbers: Sequence[int], seen: Sequence[Sizes], cap: int
) -> Iterator[tuple[Dimension, int]]:
    """Symbols and shifts that are the numbers wherever those are below the cap."""
    free = [k for k, number in enumerate(numbers) if number < cap]
    for symbol in seen[0]:
        shift = numbers[free[0]] - seen[free[0]][symbol]
        if shift and len(free) == 1:
            continue  # any shift fits one number
        found = (min(sizes[symbol] + shift, cap) for sizes in seen)
        if symbol.minimum + shift >= 0 and all(
            n == f for n, f in zip(numbers, found, strict=True)
        ):
            yield Size.of(symbol), shift


def _rounded(numbers: Sequence[int], seen: Sequence[Sizes]) -> Dimension | None:
    """``factor * floor((symbol + shift) / divisor)``, shift not above the divisor.

    None where two of them fit that differ at another size in the bounds.
    """
    fitting = [
        (symbol, parameters)
        for symbol in seen[0]
        for parameters in _fitting_quotients(numbers, [sizes[symbol] for sizes in seen])
    ]
    if not fitting or len({symbol for symbol, _ in fitting}) > 1:
        return None
    symbol, (factor, shift, divisor) = fitting[0]
    if not _all_alike([parameters for _, parameters in fitting], symbol):
        return None
    return quotient(Size.of(symbol) + shift, divisor) * factor


def _fitting_quotients(
    numbers: Sequence[int], values: Sequence[int], divisors: Iterable[int] = _DIVISORS
) -> Iterator[tuple[int, int, int]]:
    """(factor, shift, divisor) of every quotient that gives all numbers."""
    common = math.gcd(*numbers)
    factors = [f for f in range(1, common + 1) if common % f == 0]
    for factor, divisor in itertools.product(factors, divisors):
        for shift in range(-divisor, divisor + 1):
            found = (factor * ((value + shift) // divisor) for value in values)
            if all(n == f for n, f in zip(numbers, found, strict=True)):
                yield factor, shift, divisor
