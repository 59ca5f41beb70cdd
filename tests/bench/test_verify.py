"""What counts as equal, and how a difference is told."""

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from helpers.small_plan import golden, write_small
from helpers.targets import AVX2, reason_not_runnable

from edgecomp.bench.devices import open_device
from edgecomp.bench.verify import check_output, tolerance_of, verify
from edgecomp.errors import Code, EdgecompError

ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.int8, np.uint8, np.int64, np.bool_, np.float64]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


@hypothesis.given(ARRAYS)
def test_every_array_equals_itself(array):
    check = check_output(0, "y", array, array.copy(), "local")
    assert check.largest_difference == 0


@hypothesis.given(
    hnp.arrays(st.sampled_from([np.int8, np.uint8, np.int64, np.uint64, np.bool_]), (2, 3)),
    st.integers(0, 5),
)
def test_an_integer_that_differs_is_found_where_it_is(array, place):
    found = array.copy()
    found.flat[place] = not found.flat[place] if array.dtype == bool else found.flat[place] ^ 1
    index = [place // 3, place % 3]
    with pytest.raises(EdgecompError) as caught:
        check_output(4, "logits", array, found, "qemu")
    assert caught.value.code is Code.NUMERIC_MISMATCH
    assert f"at {index} " in caught.value.cause
    assert "1 of 6 elements" in caught.value.cause
    assert "equality is allowed" in caught.value.cause
    assert caught.value.node == "logits"


def test_tolerances():
    x = np.array([-1.0, 3.0], np.float32)
    assert tolerance_of(x) == pytest.approx(4e-4)
    assert tolerance_of(x.astype(np.int32)) == 0
    assert tolerance_of(np.full(4, 1000, np.float32)) == pytest.approx(2e-2)
    assert tolerance_of(np.zeros(3, np.float32)) == 0
    assert tolerance_of(np.empty(0, np.float32)) == 0
    assert tolerance_of(np.full(3, np.nan, np.float32)) == 0
    assert tolerance_of(np.ones(3, np.float16)) == pytest.approx(2.0**-10)
    assert tolerance_of(np.ones(3, ml_dtypes.bfloat16)) == pytest.approx(2.0**-7)


@pytest.mark.parametrize(("difference", "good"), [(3.9e-4, True), (4.2e-4, False)])
def test_edge_of_the_tolerance(difference, good):
    expected = np.array([[-1.0, 3.0, 0.0]], np.float32)
    found = expected.copy()
    found[0, 2] = difference
    if good:
        assert check_output(0, "y", expected, found, "").largest_difference > 3.8e-4
    else:
        with pytest.raises(EdgecompError, match=r"at \[0, 2\]"):
            check_output(0, "y", expected, found, "")


@pytest.mark.parametrize(
    ("a", "b", "good"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.nan, 0.0, False),
        (0.0, np.nan, False),
        (1.0, np.inf, False),
    ],
)
def test_what_is_not_finite(a, b, good):
    expected, found = np.array([0.0, a], np.float32), np.array([0.0, b], np.float32)
    if good:
        check_output(0, "y", expected, found, "")
    else:
        with pytest.raises(EdgecompError, match=r"at \[1\]"):
            check_output(0, "y", expected, found, "")


def test_a_good_bundle_here(host_bundle):
    checks = verify(host_bundle, open_device("local", AVX2), threads=2)
    assert [(c.vector, c.output) for c in checks] == [
        (0, "scores"),
        (0, "line"),
        (1, "scores"),
        (1, "line"),
    ]
    assert all(c.largest_difference <= c.tolerance for c in checks)


def test_a_good_bundle_emulated(emulated):
    bundle, target = emulated
    assert len(verify(bundle, open_device("qemu", target))) == 4


@pytest.mark.parametrize("name", ["scores", "line"])
def test_a_bundle_that_computes_something_else(tmp_path, name):
    if reason_not_runnable(AVX2):
        pytest.skip(reason_not_runnable(AVX2))
    vectors = golden(2)
    vectors[1][1][name].flat[5] += 1
    bundle = write_small(AVX2, tmp_path / "small", golden=vectors)
    with pytest.raises(EdgecompError, match=f"'{name}' of golden vector 1") as caught:
        verify(bundle, open_device("local", AVX2))
    assert caught.value.code is Code.NUMERIC_MISMATCH


def test_nothing_to_verify(tmp_path):
    if reason_not_runnable(AVX2):
        pytest.skip(reason_not_runnable(AVX2))
    bundle = write_small(AVX2, tmp_path / "small", golden=[])
    with pytest.raises(EdgecompError, match="no golden vectors"):
        verify(bundle, open_device("local", AVX2))
