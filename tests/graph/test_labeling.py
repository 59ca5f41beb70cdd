"""The minimum cut against every labeling."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.graph.labeling import (
    Flow,
    Variable,
    cheapest_labels,
    flow_cost,
)

COST = st.integers(0, 12).map(float)


@st.composite
def problems(draw):
    count = draw(st.integers(1, 7))
    variables = [Variable(draw(COST), draw(COST)) for _ in range(count)]
    index = st.integers(0, count - 1)
    flows = draw(
        st.lists(
            st.builds(
                Flow,
                st.none() | index,
                st.lists(index, max_size=4, unique=True).map(tuple),
                st.booleans(),
                COST,
                COST,
            ),
            max_size=8,
        )
    )
    return variables, flows


def labeling_cost(variables, flows, special):
    """What a labeling costs, straight from the definition."""
    own = sum(v.special if s else v.plain for v, s in zip(variables, special, strict=True))
    return own + sum(flow_cost(flow, special) for flow in flows)


@given(problems())
def test_no_labeling_is_cheaper(problem):
    variables, flows = problem
    found = cheapest_labels(variables, flows)
    every = itertools.product([False, True], repeat=len(variables))
    least = min(labeling_cost(variables, flows, labels) for labels in every)
    assert labeling_cost(variables, flows, found) == pytest.approx(least)


@given(problems())
def test_among_equals_the_fewest_are_special(problem):
    variables, flows = problem
    found = cheapest_labels(variables, flows)
    for other in itertools.product([False, True], repeat=len(variables)):
        cost = labeling_cost(variables, flows, other)
        if cost == pytest.approx(labeling_cost(variables, flows, found)):
            assert all(o or not f for o, f in zip(other, found, strict=True))


def test_a_value_is_converted_once_for_all_of_its_readers():
    flow = Flow(None, (0, 1), plain_reader=True, to_special=3.0, to_plain=5.0)
    assert flow_cost(flow, [True, True]) == 3.0
    assert flow_cost(flow, [False, True]) == 3.0
    assert flow_cost(flow, [False, False]) == 0.0
    made = Flow(0, (1, 2), plain_reader=False, to_special=3.0, to_plain=5.0)
    assert flow_cost(made, [True, False, False]) == 5.0
    assert flow_cost(made, [True, True, True]) == 0.0
    assert flow_cost(made, [False, True, True]) == 3.0


def test_a_layer_between_special_ones_follows_them():
    variables = [Variable(10, 1), Variable(2, 3), Variable(10, 1)]
    flows = [Flow(0, (1,), False, 2, 2), Flow(1, (2,), False, 2, 2)]
    assert cheapest_labels(variables, flows) == [True, True, True]
    assert cheapest_labels(variables, []) == [True, False, True]


def test_nothing_to_label():
    assert cheapest_labels([], []) == []
    assert cheapest_labels([Variable(0, 0)], []) == [False]
