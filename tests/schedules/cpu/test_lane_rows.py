"""Tiles of the in-order depthwise loop; tests/schedules/cpu/test_depthwise_f32.py runs it."""

import pytest

from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.lane_rows import LaneRows, most_columns, tile_for
from edgecomp.schedules.cpu.windows import Window

STEPS = (128, 128)


def window(size=3, stride=1):
    return Window((size, size), (stride, stride), (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("extent", "stride", "tile"),
    [(112, 1, (4, 4)), (28, 1, (4, 4)), (14, 1, (2, 8)), (7, 1, (2, 8)), (56, 2, (2, 7))],
)
def test_tile_with_the_fewest_instructions(extent, stride, tile):
    assert tile_for(window(stride=stride), extent, extent, STEPS, one_image=True) == tile


def test_rows_of_several_images_stay_apart():
    assert tile_for(window(), 28, 28, STEPS, one_image=False)[0] == 1


def test_windows_that_leave_no_room_have_no_loop():
    assert tile_for(window(size=7), 28, 28, STEPS, one_image=True) == (0, 0)
    assert most_columns(window(), 1, (12, 16)) == 0


@pytest.mark.parametrize(("rows", "columns"), [(1, 8), (2, 8), (4, 4)])
@pytest.mark.parametrize("out_row", [1024, 40000, 80000])
def test_registers_and_pointers(rows, columns, out_row):
    loop = LaneRows(window(), rows, columns, 3, 2048, 128, out_row, 128, (0.0, 6.0))
    lines = loop.assembly()
    assert sum(line.startswith("fmla") for line in lines) == 9 * rows * columns
    assert sum(line.startswith("str") for line in lines) == rows * columns
    # A row out of reach of the offsets has a step of its own.
    steps = sum(line.startswith("add $3") for line in lines)
    reach = 1 + (4095 * 16 - columns * 128) // out_row
    assert steps == (rows - 1) // max(1, reach)
    assert not any(f"v{VECTOR_REGISTERS - 2}." in line for line in lines)
