"""Units of scales are found exactly, whatever the scales are."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.graph.grouped_scales import common_unit, with_short_mantissa


@given(
    st.lists(st.lists(st.integers(1, 15), min_size=3, max_size=3), min_size=1, max_size=6),
    st.lists(st.floats(1e-20, 1e20), min_size=3, max_size=3),
)
def test_multiples_of_a_unit(multiples, units):
    multiples = np.array(multiples)
    unit = with_short_mantissa(np.array(units), 4)
    scales = multiples * unit
    assert (
        scales.astype(np.float32).astype(np.float64).tolist()
        == (multiples * unit.astype(np.float64)).tolist()
    )
    found = common_unit(scales.astype(np.float32))
    assert found is not None
    common = np.gcd.reduce(multiples, axis=0)
    np.testing.assert_array_equal(found[1] * found[0].astype(np.float64), scales)
    # No greater unit exists: the multiples have nothing in common.
    assert (np.gcd.reduce(found[1], axis=0) == 1).all()
    assert (found[0].astype(np.float64) >= unit * common).all()


def test_scales_that_are_far_apart_have_none():
    assert common_unit(np.float32([[1.0], [1e-15]])) is None
