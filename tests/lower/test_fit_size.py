import hypothesis
import pytest
from hypothesis import strategies

from edgecomp.lower.fit_size import SizeFit, fit_size
from edgecomp.plan.sizes import Size, Symbol, evaluate, largest, quotient
from edgecomp.steps.dynamic import golden_sizes, typical_sizes

B, S = Symbol("b", 1, 8), Symbol("s", 1, 512)
SEEN = [
    {B: 8, S: 512},
    *({B: sizes["b"], S: sizes["s"]} for sizes in typical_sizes([B, S])),
]


def seen(expression):
    return [expression(sizes[B], sizes[S]) for sizes in SEEN]


@hypothesis.given(
    strategies.integers(1, 5000),
    strategies.integers(-100, 100),
    strategies.sampled_from(["s", "b", "bs", "bss", ""]),
    strategies.sampled_from(["", "s", "b"]),
)
def test_expressions_are_found(factor, shift, product, added):
    """``factor * product + shift * added``, whatever the numbers."""

    def value(b, s):
        parts = {"b": b, "s": s}
        first, second = factor, shift
        for name in product:
            first *= parts[name]
        for name in added:
            second *= parts[name]
        return first + second

    found = fit_size(seen(value), SEEN)
    for sizes in ({B: 1, S: 1}, {B: 8, S: 512}, {B: 3, S: 77}):
        assert evaluate(found, sizes) == value(sizes[B], sizes[S])


@hypothesis.given(
    strategies.integers(2, 40), strategies.integers(0, 40), strategies.integers(1, 64)
)
def test_strides_are_found(divisor, shift, factor):
    """Those of 2 to 4 are; greater ones are never taken for others."""
    shift = min(shift, divisor)

    def value(_, s):
        return factor * ((s + shift) // divisor)

    found = fit_size(seen(value), SEEN)
    for s in (1, 2, 3, 64, 511, 512):
        assert found is not None or divisor > 4
        assert found is None or evaluate(found, {B: 1, S: s}) == value(1, s)


@pytest.mark.parametrize(("shift", "most"), [(0, 200), (3, 250), (-1, 240), (0, 100)])
def test_caps_are_found(shift, most):
    """The smaller one of a size and a number; of a shifted size where it was seen twice below."""

    def value(_, s):
        return min(s + shift, most)

    found = fit_size(seen(value), SEEN)
    for s in (1, 2, most - shift, most - shift + 1, 511, 512):
        assert evaluate(found, {B: 1, S: s}) == value(1, s)
    assert largest(found) == most


def test_a_number_of_two_dimensions():
    """What a window makes of one is that of another one where the operation itself has it."""
    symbols = H, W = Symbol("h", 1, 19), Symbol("w", 5, 28)
    sizes = [(19, 28), (3, 5), (15, 23), (16, 24), (17, 26), (18, 25)]
    fit = SizeFit([dict(zip(symbols, each, strict=True)) for each in sizes])
    half, third = quotient(Size.of(H) + 1, 2), quotient(Size.of(W) + 2, 3)
    numbers = [10, 2, 8, 8, 9, 9]
    assert fit.gives(half, numbers)
    fit.propose(numbers, third)
    assert fit.find(numbers) is None
    fit.near = {half, Size.of(H)}
    assert fit.find(numbers) == half
    fit.near = {half, third}
    assert fit.find(numbers) is None


def test_what_is_no_expression():
    assert fit_size(seen(lambda _, s: min(s * s, 200)), SEEN) is None
    assert fit_size(seen(lambda _, s: s % 7), SEEN) is None
    assert fit_size(seen(lambda *_: 7), SEEN) == 7
    assert fit_size(seen(lambda b, _: b), SEEN) == Size.of(B)


@hypothesis.given(
    strategies.integers(1, 600), strategies.integers(0, 600), strategies.integers(1, 20)
)
def test_typical_sizes_differ(low, more, batch):
    """All sizes of a reading differ from each other, in every symbol and from other symbols."""
    symbols = [Symbol("a", 1, batch), Symbol("s", low, low + more)]
    chosen = typical_sizes(symbols)
    for symbol in symbols:
        column = [sizes[symbol.name] for sizes in chosen]
        assert len(set(column)) == len(column)
        assert symbol.maximum not in column
        assert min(column) >= 2
    assert not {sizes["a"] for sizes in chosen} & {sizes["s"] for sizes in chosen}


def test_golden_sizes():
    assert golden_sizes([S]) == [{"s": 1}, {"s": 171}]
    assert golden_sizes([Symbol("s", 4, 4)]) == []
