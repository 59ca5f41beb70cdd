import dataclasses
import math

import pytest
from helpers.targets import A53, A76, ALL, AVX512, HALVES
from hypothesis import given
from hypothesis import strategies as st

from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32, dense_f32
from edgecomp.schedules.cpu.bands import BANDS
from edgecomp.schedules.cpu.product import (
    RowDimension,
    RunDimension,
    collapse_depth,
    collapse_rows,
)
from edgecomp.schedules.cpu.tiles import ProductShape, Split, least_cycles, params_for


@given(extent=st.integers(1, 500), most=st.integers(1, 40))
def test_split_covers_everything_once(extent, most):
    split = Split.by_size(extent, most)
    parts = list(split.starts())
    assert len(parts) == split.count
    assert [start for start, _ in parts] == [
        sum(size for _, size in parts[:i]) for i in range(len(parts))
    ]
    assert sum(size for _, size in parts) == extent
    assert max(size for _, size in parts) <= most
    assert len({size for _, size in parts}) <= 2


def test_split_refuses_empty_parts():
    with pytest.raises(ValueError, match="cannot split"):
        Split(3, 4)


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
@given(
    rows=st.lists(st.integers(1, 60), min_size=1, max_size=3),
    vectors=st.integers(1, 40),
    depth=st.integers(1, 3000),
)
def test_tile_fits_registers(rows, vectors, depth, target):
    arithmetic = arithmetic_f32(target)
    shape = ProductShape(
        rows=tuple(rows), vectors=vectors, groups=1, depth=depth, row_bytes=depth * 4
    )
    params = params_for(shape, arithmetic, target)
    inner = math.prod(rows[params.axis + 1 :])
    registers = target.core.vector_registers
    assert arithmetic.fits(params.rows.large * inner, params.vectors.large, registers)
    assert params.chunk_tiles <= params.rows.count * math.prod(rows[: params.axis])


def test_small_lines_are_joined():
    shape = ProductShape(rows=(7, 7), vectors=32, groups=1, depth=4608, row_bytes=2048)
    assert params_for(shape, arithmetic_f32(AVX512), AVX512).axis == 0


@pytest.mark.parametrize(("step", "most"), [(8192, 9), (4096, 9), (8192 + 64, 13)])
def test_rows_that_share_a_set_of_the_cache_are_few(step, most):
    shape = ProductShape(
        rows=(49,), vectors=32, groups=1, depth=2048, row_bytes=8192, row_steps=(step,)
    )
    assert params_for(shape, arithmetic_f32(AVX512), AVX512).rows.large == most


def test_rows_in_different_sets_are_as_if_nothing_was_known():
    shape = ProductShape(rows=(49,), vectors=32, groups=1, depth=2048, row_bytes=8192)
    known = dataclasses.replace(shape, row_steps=(8192 + 64,))
    costs = [least_cycles(each, arithmetic_f32(AVX512), AVX512) for each in (shape, known)]
    assert costs[0] == costs[1]


def test_vectors_in_halves_cost_twice():
    shape = ProductShape(rows=(128,), vectors=24, groups=1, depth=384, row_bytes=1536)
    whole, half = (least_cycles(shape, arithmetic_f32(t), t) for t in (AVX512, HALVES))
    assert 1.7 * whole < half < 2.1 * whole


@pytest.mark.parametrize(
    ("columns", "lanes"), [(24, 8), (8, 8), (17, 8), (16, 16), (32, 16), (25, 16), (1, 8)]
)
def test_half_vectors_where_they_pad_less(columns, lanes):
    assert dense_f32(HALVES, columns).lanes == lanes
    assert dense_f32(AVX512, columns).lanes == 16


def test_slower_core_costs_more():
    costs = []
    for target in (A53, A76, AVX512):
        arithmetic = arithmetic_f32(target)
        shape = ProductShape(
            rows=(196,), vectors=512 // arithmetic.lanes, groups=1, depth=256, row_bytes=1024
        )
        costs.append(least_cycles(shape, arithmetic, target))
    assert costs[0] > costs[1] > costs[2]


def test_rows_collapse_only_where_contiguous_in_every_tensor():
    assert collapse_rows([RowDimension(4, 50, 30), RowDimension(5, 10, 6)]) == (
        RowDimension(20, 10, 6),
    )
    apart = (RowDimension(4, 50, 36), RowDimension(5, 10, 6))
    assert collapse_rows([RowDimension(1, 999, 1), *apart]) == apart


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        ([(3, 90), (3, 8), (8, 1)], [(3, 90), (24, 1)]),  # a window row is one run
        ([(3, 90), (3, 16), (8, 1)], [(3, 90), (3, 16), (8, 1)]),  # dilated
        ([(1, 90), (1, 8), (8, 1)], [(8, 1)]),
        ([(3, 9), (3, 1), (1, 1)], [(3, 9), (3, 1)]),  # one channel
        ([(3, 9), (3, 2), (1, 1)], [(3, 9), (3, 2), (1, 1)]),
    ],
)
def test_depth_collapses(depth, expected):
    found = collapse_depth([RunDimension(*d) for d in depth])
    assert [(d.size, d.stride) for d in found] == expected


def test_images_are_shared_by_rows_and_weights_by_columns():
    arithmetic = arithmetic_f32(AVX512)

    def params(rows, depth, columns):
        shape = ProductShape(
            rows=(rows,),
            vectors=columns // arithmetic.lanes,
            groups=1,
            depth=depth,
            row_bytes=4 * depth,
            result_bytes=4 * columns,
        )
        return params_for(shape, arithmetic, AVX512)

    wide = params(14 * 14, 80, 480)
    assert wide.row_chunks == BANDS
    deep = params(7 * 7, 192, 1152)
    assert deep.row_chunks == 1
    assert deep.chunk_blocks < deep.vectors.count


@given(rows=st.integers(1, 500), columns=st.integers(1, 20))
def test_chunks_hold_all_tiles(rows, columns):
    arithmetic = arithmetic_f32(AVX512)
    shape = ProductShape(
        rows=(rows,), vectors=columns, groups=1, depth=16, row_bytes=64, result_bytes=64
    )
    params = params_for(shape, arithmetic, AVX512)
    assert params.row_chunks <= params.rows.count
    assert params.chunk_tiles == -(-params.rows.count // params.row_chunks)
    assert params.part_tiles <= params.chunk_tiles
