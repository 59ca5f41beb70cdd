import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from edgecomp.plan.values import Halo, nhwc_view, refinement, row_major_view


@hypothesis.given(st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), max_size=4))
def test_factors_of_dimensions_are_found(groups):
    shape = tuple(int(np.prod(group)) for group in groups)
    finer = tuple(size for group in groups for size in group)
    found = refinement(shape, finer)
    assert found is not None
    assert tuple(int(np.prod(group)) for group in found) == shape
    assert tuple(size for group in found for size in group) == finer


@pytest.mark.parametrize(
    ("shape", "finer"),
    [((6, 4), (4, 6)), ((6, 4), (24,)), ((2, 3), (2, 3, 2)), ((4,), (2,)), ((), (2,))],
)
def test_dimensions_that_span_several_are_refused(shape, finer):
    assert refinement(shape, finer) is None


def test_a_refined_image_has_the_same_elements():
    view = nhwc_view((2, 6, 3, 4), Halo(1, 0, 0, 2))
    memory = np.arange(view.elements)

    def read(each):
        strides = [s * memory.itemsize for s in each.strides]
        return np.lib.stride_tricks.as_strided(memory[each.offset :], each.shape, strides)

    refined = view.refined((2, 2, 3, 3, 2, 2))
    np.testing.assert_array_equal(read(refined), read(view).reshape(2, 2, 3, 3, 2, 2))
    with pytest.raises(ValueError, match="does not cut"):
        row_major_view((4, 3)).refined((3, 4))
