"""The integer program against all assignments of small instances."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp.budget.assignment import COSTS, Form, Problem, assign
from edgecomp.graph.labeling import Flow

PRECISIONS = ("fp32", "w8a8", "w4a16")
#: What floating point, and the tolerance of the solver, leave of a limit.
SLACK = 1e-6
number = st.integers(0, 40).map(float)


@st.composite
def problems(draw):
    """Up to six layers of one to three forms, with values between them."""
    count = draw(st.integers(1, 6))
    layers = {}
    for index in range(count):
        precisions = draw(st.sets(st.sampled_from(PRECISIONS), min_size=1))
        layers[f"l{index}"] = {
            p: Form(draw(number), draw(number), draw(number), integer=p == "w8a8")
            for p in sorted(precisions)
        }
    indices = st.integers(0, count - 1)
    flows = draw(
        st.lists(
            st.builds(
                Flow,
                st.none() | indices,
                st.lists(indices, min_size=1, max_size=3, unique=True).map(tuple),
                st.booleans(),
                number,
                number,
            ),
            max_size=5,
        )
    )
    return Problem(layers, flows, draw(number), draw(number))


def best_of_all(problem, limits, objective):
    """Least of the objective over all assignments within the limits, None without one."""
    names = list(problem.layers)
    costs = [
        problem.cost(dict(zip(names, forms, strict=True)))
        for forms in itertools.product(*problem.layers.values())
    ]
    within = [c for c in costs if all(c[k] <= most for k, most in limits.items())]
    return min((c[objective] for c in within), default=None)


@settings(max_examples=150)
@given(
    problem=problems(),
    limits=st.dictionaries(st.sampled_from(COSTS), st.integers(0, 150).map(float)),
    objective=st.sampled_from(COSTS),
)
def test_nothing_is_better(problem, limits, objective):
    found = assign(problem, limits, objective)
    best = best_of_all(problem, limits, objective)
    assert (found is None) == (best is None)
    if found is not None:
        cost = problem.cost(found)
        assert cost[objective] == pytest.approx(best, rel=1e-4, abs=1e-3)
        assert all(cost[k] <= most * (1 + SLACK) for k, most in limits.items())


def test_greedy_is_not_enough():
    """By noise per byte one would take b first, and then nothing else fits."""
    both = {"a": (6.0, 10.0), "b": (8.0, 11.0), "c": (6.0, 10.0)}
    layers = {
        name: {"fp32": Form(0.0, size, 0.0), "w8a8": Form(noise, 0.0, 0.0)}
        for name, (noise, size) in both.items()
    }
    found = assign(Problem(layers), {"bytes": 20.0}, "noise")
    assert found == {"a": "fp32", "b": "w8a8", "c": "fp32"}


def test_among_equals_the_others_decide():
    forms = {"fp32": Form(1.0, 4.0, 2.0), "w8a8": Form(1.0, 1.0, 2.0)}
    assert assign(Problem({"a": forms}), {}, "seconds") == {"a": "w8a8"}


def test_conversions_count():
    """A layer that gains little stays as its neighbours are."""
    slow, fast = Form(0.0, 0.0, 10.0), Form(0.0, 0.0, 9.0, integer=True)
    layers = {"a": {"fp32": slow, "w8a8": fast}, "b": {"fp32": slow}}
    flows = [Flow(0, (1,), False, 3.0, 3.0)]
    assert assign(Problem(layers, flows), {}, "seconds") == {"a": "fp32", "b": "fp32"}
    assert assign(Problem(layers), {}, "seconds") == {"a": "w8a8", "b": "fp32"}


def test_no_layers():
    assert assign(Problem({}, bytes=5.0), {"bytes": 5.0}, "noise") == {}
    assert assign(Problem({}, bytes=5.0), {"bytes": 4.0}, "noise") is None


def test_magnitudes_do_not_matter():
    """Noise of 1e-9, weights of gigabytes, kernels of microseconds."""
    layers = {
        f"l{i}": {
            "fp32": Form(0.0, 4e9 + i, 3e-6),
            "w8a8": Form(1e-9 * (i + 1), 1e9 + i, 1e-6, integer=True),
        }
        for i in range(5)
    }
    problem = Problem(layers)
    found = assign(problem, {"noise": 6e-9}, "seconds")
    assert [found[f"l{i}"] for i in range(5)] == ["w8a8"] * 3 + ["fp32"] * 2
