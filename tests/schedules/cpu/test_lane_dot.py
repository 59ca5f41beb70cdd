"""The loop of 8-bit depthwise convolution: registers and addresses, and bits next to ties."""

import dataclasses

import numpy as np
import pytest
from helpers.dense import RELU, Conv, halo_untouched, make_integer, run
from helpers.targets import A55, A76

from edgecomp.schedules.cpu import depthwise_int8
from edgecomp.schedules.cpu.depthwise_dot import plan_rows
from edgecomp.schedules.cpu.depthwise_dot_loop import loop_for
from edgecomp.schedules.cpu.lane_dot import LaneDot
from edgecomp.schedules.cpu.lane_dot_plan import Narrowing, registers_for
from edgecomp.schedules.cpu.lane_plan import VECTOR_REGISTERS
from edgecomp.schedules.cpu.windows import Window

NARROWING = Narrowing(0x4B000000, 0x4B400000 - 128, 0, None, None)


def conv(c, h, w, k=(3, 3), s=(1, 1), **more):
    pads = (k[0] // 2, k[1] // 2) * 2
    return Conv(c=c, m=c, g=c, h=h, w=w, k=k, s=s, p=pads, finish="requantize", **more)


#: One and two rows, tiles of several widths, steps within a tile, several images, odd zero
#: points, and no bound at the zero point.
CASES = (
    conv(16, 6, 6, act=RELU, extreme=True),
    conv(40, 7, 7, act=RELU),
    conv(24, 9, 39, s=(2, 2), act=RELU),
    conv(32, 4, 20, n=2, act=RELU),
    conv(24, 14, 14),
    conv(8, 5, 33, k=(3, 1), s=(1, 2)),
    conv(48, 3, 12, k=(1, 3), act=RELU, extreme=True),
)


def with_zero(operation, zero):
    """The operation with another zero point, and Relu at it where there was one."""
    kind = operation.kind
    bounded = kind.finish.low == kind.finish.zero_point
    finish = dataclasses.replace(
        kind.finish, zero_point=zero, low=zero if bounded else kind.finish.low
    )
    operation.kind = dataclasses.replace(kind, finish=finish)
    return finish


@pytest.mark.parametrize("target", [A55, A76], ids=lambda t: t.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_equal_bits(case, target):
    operation, buffers, expected = make_integer(case, target, np.random.default_rng(3))
    assert loop_for(operation, target, 1)
    found, flat = run(depthwise_int8, operation, buffers, target, 3)
    assert halo_untouched(operation.output, flat)
    np.testing.assert_array_equal(found, expected)


WIDE = (
    conv(16, 7, 30, k=(3, 2), s=(1, 11)),
    conv(16, 9, 24, k=(8, 1)),
    Conv(c=8, m=8, g=8, h=7, w=24, d=(2, 3), p=(2, 3, 2, 3), finish="requantize", act=RELU),
)


@pytest.mark.parametrize("case", WIDE, ids=str)
def test_what_offsets_in_registers_do_not_reach(case):
    for target in (A55, A76):
        operation, buffers, expected = make_integer(case, target, np.random.default_rng(5))
        assert bool(loop_for(operation, target, 1)) == (target is A76)
        found, _ = run(depthwise_int8, operation, buffers, target)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("target", [A55, A76], ids=lambda t: t.name)
@pytest.mark.parametrize("zero", [-128, -37, 0, 101])
@pytest.mark.parametrize("act", [None, RELU], ids=["plain", "relu"])
def test_rounding_of_ties(target, zero, act):
    """Multipliers that are powers of two: every other sum lies in the middle of two results."""
    case = conv(16, 6, 9, act=act)
    operation, buffers, _ = make_integer(case, target, np.random.default_rng(4))
    finish = with_zero(operation, zero)
    unit = dataclasses.replace(
        finish, multiplier=np.full_like(finish.multiplier, np.float32(2.0**-7))
    )
    operation.kind = dataclasses.replace(operation.kind, finish=unit)
    assert loop_for(operation, target, 2)
    found, _ = run(depthwise_int8, operation, buffers, target)
    expected = np.rint(exact_sums(operation, buffers) / 128.0) + zero
    np.testing.assert_array_equal(found, np.clip(expected, unit.low, unit.high))


def exact_sums(operation, buffers):
    """Sums in int64, from the values as the kernel got them."""
    x = operation.inputs[0]
    weight, bias = (v.constant.astype(np.int64) for v in operation.inputs[1:3])
    flat, view = buffers[x], operation.output.view
    n, channels, height, width = view.shape
    stride = x.view.strides
    found = np.zeros(view.shape, np.int64) + bias.reshape(1, -1, 1, 1)
    for index in np.ndindex(n, channels, height, width):
        image, channel, row, column = index
        for tap_row in range(3):
            for tap in range(3):
                at = x.view.offset + image * stride[0] + channel * stride[1]
                at += (row + tap_row - 1) * stride[2] + (column + tap - 1) * stride[3]
                found[index] += int(flat[at]) * weight[channel, 0, tap_row, tap]
    return found


def test_sums_that_go_too_far_have_no_loop():
    operation, _, _ = make_integer(CASES[0], A76, np.random.default_rng(0))
    finish = operation.kind.finish
    far = dataclasses.replace(finish, multiplier=finish.multiplier * np.float32(1e6))
    operation.kind = dataclasses.replace(operation.kind, finish=far)
    assert loop_for(operation, A76, 1) is None


def test_channels_that_are_no_whole_blocks_have_no_loop():
    operation, _, _ = make_integer(conv(20, 6, 6), A76, np.random.default_rng(0))
    assert loop_for(operation, A76, 1) is None


@pytest.mark.parametrize("in_order", [False, True])
@pytest.mark.parametrize(("height", "columns", "stride"), [(1, 7, 2), (2, 16, 1), (1, 16, 2)])
def test_registers_and_pointers(height, columns, stride, in_order):
    window = Window((3, 3), (stride, stride), (1, 1), (1, 1))
    plan = plan_rows(window, height, 4)
    tile = LaneDot(window, plan, columns, 3, 9216, 576, 8064, 576, NARROWING, in_order)
    lines = tile.assembly()
    body = lines[lines.index("1:") :]
    assert sum(line.startswith("sdot") for line in body) == 6 * columns * len(plan.uses)
    assert sum(line.startswith("str") for line in body) == height * columns
    assert len(tile.x_bases) == (len(plan.groups[0]) if in_order else 1 + (columns == 16))
    assert not any(f"v{VECTOR_REGISTERS - 1}." in line for line in lines)


def test_windows_that_leave_no_room_have_no_loop():
    window = Window((5, 5), (1, 1), (1, 1), (2, 2))
    assert registers_for(window, plan_rows(window, 1, 4), 1) is None
