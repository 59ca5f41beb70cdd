"""The smallest set: enough, and nothing in it can be left out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp.debugging.bisect import smallest_set

NAMES = [f"n{i}" for i in range(23)]


@settings(max_examples=200, deadline=None)
@given(st.sets(st.sampled_from(NAMES)), st.permutations(NAMES))
def test_finds_exactly_what_is_needed(needed, order):
    assert set(smallest_set(order, lambda names: names >= needed)) == needed


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=len(NAMES), max_size=len(NAMES)),
    st.floats(0, 1),
)
def test_no_member_can_be_left_out(weights, share):
    weight = dict(zip(NAMES, weights, strict=True))
    goal = share * sum(weights)
    asked = []

    def restored(names):
        asked.append(names)
        return sum(weight[name] for name in names) >= goal

    order = sorted(NAMES, key=lambda name: -weight[name])
    found = smallest_set(order, restored)
    assert restored(frozenset(found))
    for name in found:
        assert not restored(frozenset(found) - {name})
    assert len(asked) == len(set(asked)) + sum(asked.count(a) - 1 for a in set(asked))


@pytest.mark.parametrize("names", [[], NAMES])
def test_nothing_to_do_and_nothing_that_helps(names):
    assert smallest_set(names, lambda _: True) == []
    assert smallest_set(names, lambda _: False) is None


def test_each_set_is_asked_once():
    asked = []

    def restored(names):
        asked.append(names)
        return names >= {"n3", "n11"}

    assert sorted(smallest_set(NAMES, restored)) == ["n11", "n3"]
    assert len(asked) == len(set(asked)) < 30
