"""Tiles of products: they fit the registers, and groups the device."""

import dataclasses

import pytest
from helpers.gpu import TARGETS
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.schedules.gpu.product_tiles import choose_tile, group_shape, registers_of

counts = st.integers(1, 5000)


@given(rows=counts, outer=counts, columns=counts, registers=st.sampled_from([16, 32, 64, 128]))
def test_tiles(rows, outer, columns, registers):
    gpu = dataclasses.replace(TARGETS["opencl"].gpu, registers=registers)
    tile = choose_tile(rows, outer, columns, 1, gpu)
    assert 1 <= tile.rows <= rows
    assert registers_of(tile) < registers or (tile.rows, tile.vectors) == (1, 1)


@given(columns=counts, items=st.sampled_from([16, 64, 128]))
def test_groups(columns, items):
    gpu = dataclasses.replace(TARGETS["opencl"].gpu, group_items=items)
    across, down, deep = group_shape(columns, gpu)
    assert across * down * deep == items


@pytest.mark.parametrize(("rows", "outer", "vectors"), [(56, 56, 2), (1, 1, 1)])
def test_large_layers_take_large_tiles(rows, outer, vectors):
    assert choose_tile(rows, outer, 256, 1, TARGETS["opencl"].gpu).vectors == vectors
