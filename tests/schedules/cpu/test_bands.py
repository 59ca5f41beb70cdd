import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.schedules.builder import KernelBuilder
from edgecomp.schedules.cpu import windows
from edgecomp.schedules.cpu.bands import BANDS, band_rows, depthwise_bands, shares_rows


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


@given(rows=st.integers(1, 200), bands=st.integers(1, 8))
def test_bands_hold_all_rows(rows, bands):
    height = band_rows(rows, bands)
    assert height * bands >= rows
    assert height * bands < rows + bands


@pytest.mark.parametrize("bands", [1, 2, 4])
@pytest.mark.parametrize("channels", [16, 40])
@pytest.mark.parametrize("rows", [1, 4, 7, 9])
def test_items_of_a_walk(channels, rows, bands):
    walk = windows.Walk(lanes=16, vectors=1, blocks=1, columns=4)
    runs = windows.channel_groups(channels, walk)
    builder = KernelBuilder()
    items = windows.walk_groups(builder, runs, rows, lambda *_: None, bands)
    height = band_rows(rows, bands)
    groups = -(-channels // 16)
    assert items == -(-rows // height) * height * groups
