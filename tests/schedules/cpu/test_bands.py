import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import windows
from edgecomp.schedules.cpu.bands import (
    BANDS,
    band_starts,
    depthwise_bands,
    filled_bands,
    rows_behind,
    shares_rows,
)


@pytest.mark.parametrize(
    ("shape", "bands"),
    [
        ((144, 56, 56), BANDS),
        ((480, 14, 14), BANDS),
        ((960, 7, 7), 1),  # the pointwise neighbours have far more weights than pixels
        ((32, 5, 5), 1),
        ((32, 1, 9), 1),
    ],
)
def test_bands_of_images(shape, bands):
    assert depthwise_bands(*shape) == bands


def test_weights_outweigh_images():
    assert shares_rows(weight_bytes=1000, image_bytes=800)
    assert not shares_rows(weight_bytes=1001, image_bytes=800)


@given(
    rows=st.integers(1, 200),
    bands=st.integers(1, 8),
    pad=st.integers(0, 4),
    stride=st.integers(1, 3),
)
def test_bands_hold_all_rows_and_read_none_of_the_band_before(rows, bands, pad, stride):
    bands = min(rows, bands)
    behind = rows_behind(pad, stride)
    starts = band_starts(rows, bands, behind)
    assert (starts[0], starts[-1]) == (0, rows)
    assert all(above < below for above, below in itertools.pairwise(starts))
    if behind < rows // bands:
        written = band_starts(rows * stride, bands)
        for reader, writer in zip(starts[1:-1], written[1:-1], strict=True):
            assert reader * stride - pad > writer - stride


@pytest.mark.parametrize(
    ("rows", "bands", "filled"), [(14, 10, 7), (14, 4, 4), (25, 4, 4), (3, 8, 3), (7, 1, 1)]
)
def test_no_more_bands_than_their_height_needs(rows, bands, filled):
    assert filled_bands(rows, bands) == filled


@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("channels", [16, 40])
@pytest.mark.parametrize("rows", [1, 4, 7, 9])
@pytest.mark.parametrize("behind", [0, 1])
def test_items_of_a_walk(channels, rows, bands, behind):
    walk = windows.Walk(lanes=16, vectors=1, blocks=1, columns=4)
    runs = windows.channel_groups(channels, walk)
    builder = KernelBuilder()
    items = windows.walk_groups(builder, runs, rows, lambda *_: None, bands, behind)
    groups = -(-channels // 16)
    bands = filled_bands(rows, bands)
    starts = band_starts(rows, bands, behind)
    assert items == bands * max(np.diff(starts)) * groups
