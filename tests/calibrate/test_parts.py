"""Parts of work that fit into memory."""

import itertools

import hypothesis.strategies as st
from hypothesis import given

from edgecomp.calibrate.parts import in_parts


@given(st.lists(st.integers(0, 12)), st.integers(0, 20))
def test_parts_are_whole_in_order_and_as_large_as_they_can_be(sizes, most):
    parts = in_parts(sizes, lambda size: size, most)
    assert [size for part in parts for size in part] == sizes
    assert all(part and (sum(part) <= most or len(part) == 1) for part in parts)
    for part, behind in itertools.pairwise(parts):
        assert sum(part) + behind[0] > most
