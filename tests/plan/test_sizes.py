import hypothesis
import pytest
from hypothesis import strategies

from edgecomp.plan.sizes import (
    Size,
    Symbol,
    capped,
    evaluate,
    exact_quotient,
    greatest,
    largest,
    quotient,
    reached,
    smallest,
    symbols_of,
    values_of,
)

B, S = Symbol("b", 1, 5), Symbol("s", 2, 40)
ATOMS = strategies.one_of(
    strategies.integers(-6, 6), strategies.sampled_from([Size.of(B), Size.of(S)])
)
OPERATORS = strategies.sampled_from(["+", "-", "*"])


def combine(left, operator, right):
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


@hypothesis.given(
    strategies.lists(strategies.tuples(OPERATORS, ATOMS), max_size=5),
    strategies.integers(B.minimum, B.maximum),
    strategies.integers(S.minimum, S.maximum),
)
def test_arithmetic_is_that_of_numbers(steps, b, s):
    """A polynomial's value is that of the same steps on numbers, inside of its bounds."""
    values = {B: b, S: s}
    size, number = 1, 1
    for operator, atom in steps:
        size = combine(size, operator, atom)
        number = combine(number, operator, evaluate(atom, values))
    assert evaluate(size, values) == number
    assert smallest(size) <= number <= largest(size)


def test_one_form():
    b, s = Size.of(B), Size.of(S)
    assert (b + s) * 2 == s * 2 + 2 * b
    assert b * s - s * b == 0
    assert b + 1 - b == 1
    assert isinstance(b - b + 3, int)
    assert str(12 * b * s - 3) == "12*b*s-3"


def test_exact_quotients():
    b, s = Size.of(B), Size.of(S)
    assert (12 * b * s) // 4 == 3 * b * s
    assert exact_quotient(12 * b * s, s) == 12 * b
    assert exact_quotient(b * s + b, b) == s + 1
    assert exact_quotient(b + 1, 2) is None
    with pytest.raises(TypeError, match="no multiple"):
        (b + 1) // 2


def test_rounded_quotients():
    half = quotient(Size.of(S) + 1, 2)
    assert [evaluate(half, {S: s}) for s in (2, 3, 40)] == [1, 2, 20]
    assert (smallest(half), largest(half)) == (1, 20)
    assert quotient(4 * Size.of(S), 2) == 2 * Size.of(S)


@hypothesis.given(
    strategies.lists(
        strategies.tuples(strategies.integers(-3, 9), strategies.integers(2, 4)),
        min_size=1,
        max_size=4,
    )
)
def test_quotients_of_quotients(steps):
    """Strides behind strides: one symbol, its values those of the same steps on numbers."""
    size, numbers = Size.of(S), [*range(S.minimum, S.maximum + 1)]
    for shift, divisor in steps:
        size = quotient(size + shift, divisor)
        numbers = [(number + shift) // divisor for number in numbers]
    assert list(values_of(size)) == numbers
    assert greatest(size) == max(numbers)
    assert quotient(size + 2, 2) == quotient(size, 2) + 1


COUNTED, STEPPED = Symbol("n", 0, 9, is_counted=True), Symbol("h", 1, 4, step=32)
#: Sizes as models have them, those of other signs, quotients and capped ones among them.
TERMS = strategies.sampled_from(
    [
        Size.of(B),
        Size.of(S),
        Size.of(COUNTED),
        32 * Size.of(STEPPED),
        Size.of(B) * Size.of(S),
        quotient(Size.of(S) + 1, 2),
        quotient(Size.of(COUNTED) - Size.of(S), 3),
        capped(Size.of(COUNTED) + 1, 5),
        capped(Size.of(COUNTED), 20),
    ]
)


@hypothesis.given(
    strategies.lists(strategies.tuples(strategies.integers(-9, 9), TERMS), max_size=4),
    strategies.integers(-20, 20),
    strategies.integers(2, 12),
    strategies.tuples(
        *(strategies.integers(s.minimum, s.maximum) for s in (B, S, COUNTED, STEPPED))
    ),
)
def test_quotients_of_any_size(terms, constant, divisor, given):
    """The floor at every value, and symbols as the runtime takes them: never negative."""
    values = dict(zip((B, S, COUNTED, STEPPED), given, strict=True))
    size = sum((factor * term for factor, term in terms), start=constant)
    found = quotient(size, divisor)
    assert evaluate(found, values) == evaluate(size, values) // divisor
    assert quotient(size - 3 * divisor, divisor) == found - 3
    for symbol in symbols_of(found):
        if symbol.numerator is not None:
            assert evaluate(symbol.numerator, values) >= 0
            value = evaluate(Size.of(symbol), values)
            assert symbol.minimum <= value <= symbol.maximum


def test_what_is_reached():
    """The value at the largest of all symbols, where the bound of each term says more."""
    rows = (Size.of(B) + 2) * (Size.of(S) - 2)
    assert reached(rows) == (B.maximum + 2) * (S.maximum - 2) < largest(rows)
    half = quotient(Size.of(S) + 1, 2)
    assert reached(half * 3) == largest(half * 3) == (S.maximum + 1) // 2 * 3
    assert reached(2 * half - Size.of(S)) == S.maximum % 2
    assert reached(7) == 7


def test_quotients_beyond_their_bounds():
    """As models are read there; a cap stays one."""
    near = Symbol("h", 7, 10)
    assert evaluate(quotient(Size.of(near) + 1, 2), {near: 14}) == 7
    assert evaluate(capped(Size.of(near), 9), {near: 14}) == 9


def test_capped_quotients_stay_capped():
    """A quotient of a capped size is none of what the cap is of."""
    size = quotient(capped(Size.of(S), 7) + 1, 2)
    assert [evaluate(size, {S: s}) for s in (2, 6, 7, 40)] == [1, 3, 4, 4]
    assert (smallest(size), largest(size)) == (1, 4)


@pytest.mark.parametrize("use", [int, lambda s: s < 3, lambda s: range(s), lambda s: s // 7])
def test_no_size_is_taken_for_a_number(use):
    with pytest.raises(TypeError):
        use(Size.of(S) + 1)
