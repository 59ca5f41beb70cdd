"""Placement by cost: the least of all placements, by what the copies and waits really are."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecomp.device.target import GpuSpeed
from edgecomp.lower.gpu_price import copy_seconds, gpu_seconds
from edgecomp.lower.place_by_cost import Prices, place_by_cost
from edgecomp.lower.place_copies import place_copies
from edgecomp.lower.select import Selected
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.plan import Launch, LaunchKind
from edgecomp.plan.products import MatrixMultiply
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import KernelCall

SPEED = GpuSpeed(
    float_gigaflops=100.0,
    int8_gigaops=200.0,
    gigabytes_per_second=10.0,
    launch_us=5.0,
    wait_us=50.0,
    copy_us=10.0,
    copy_gigabytes_per_second=1.0,
)
KERNEL = Launch(LaunchKind.KERNEL, (8, 1, 1), (8, 1, 1))


def elementwise(inputs, output):
    return Operation(Elementwise((Step("Add", (0, 0), "float32"),)), inputs, [output])


def cost_of(program, prices, on_gpu):
    """What a run costs, counted on the calls that a plan would have."""
    choices = [
        Selected(
            each.operation,
            "test",
            [KernelCall(Kernel("k", None), (), 1, launch=KERNEL if gpu else None)],
            (),
        )
        for each, gpu in zip(prices, on_gpu, strict=True)
    ]
    calls = [call for made in place_copies(program, choices) for call in made.calls]
    seconds = sum(
        each.gpu if g else each.processor for each, g in zip(prices, on_gpu, strict=True)
    )
    for call in calls:
        if call.launch and call.launch.kind is not LaunchKind.KERNEL:
            seconds += copy_seconds(call.arguments[0], SPEED)
    devices = [call.launch is not None for call in calls] + [False]
    waits = sum(a and not b for a, b in itertools.pairwise(devices))
    return seconds + waits * SPEED.wait_us * 1e-6


@st.composite
def programs(draw):
    """Up to six operations that read anything before them; some write to what another wrote."""
    values = [Value("x", (draw(st.integers(1, 20_000)),), "float32")]
    operations, prices = [], []
    for number in range(draw(st.integers(1, 6))):
        inputs = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3, unique=True))
        made = [value for value in values[1:] if value not in inputs]
        if made and draw(st.integers(0, 4)) == 0:
            output = draw(st.sampled_from(made))
        else:
            size = draw(st.integers(1, 20_000))
            output = Value(f"v{number}", (size,), "float32")
            values.append(output)
        operations.append(elementwise(inputs, output))
        microseconds = st.floats(0.0, 300.0)
        gpu = draw(st.none() | microseconds)
        prices.append(
            Prices(
                operations[-1], draw(microseconds) * 1e-6, None if gpu is None else gpu * 1e-6
            )
        )
    outputs = draw(st.lists(st.sampled_from(values[1:]), min_size=1, max_size=2, unique=True))
    return Program("test", operations, values[:1], outputs), prices


@settings(max_examples=60, deadline=None)
@given(programs())
def test_no_placement_is_cheaper(case):
    program, prices = case
    found = place_by_cost(program, prices, SPEED)
    chosen = [placed.on_gpu for placed in found.operations]
    ways = [(False,) if each.gpu is None else (False, True) for each in prices]
    costs = {way: cost_of(program, prices, way) for way in itertools.product(*ways)}
    assert found.seconds == pytest.approx(costs[tuple(chosen)], rel=1e-6, abs=1e-12)
    assert found.seconds <= min(costs.values()) * (1 + 1e-6) + 1e-12
    assert found.processor_seconds == pytest.approx(costs[(False,) * len(prices)])
    most = tuple(each.gpu is not None for each in prices)
    assert found.gpu_seconds == pytest.approx(costs[most])


def chain(*microseconds):
    """Operations one after the other, by their times on the processor and on the GPU."""
    values = [Value(f"v{i}", (1000,), "float32") for i in range(len(microseconds) + 1)]
    operations = [elementwise([a], b) for a, b in itertools.pairwise(values)]
    prices = [
        Prices(operation, cpu * 1e-6, None if gpu is None else gpu * 1e-6, "no kernel")
        for operation, (cpu, gpu) in zip(operations, microseconds, strict=True)
    ]
    return place_by_cost(Program("test", operations, values[:1], values[-1:]), prices, SPEED)


def test_why():
    """A copy takes 14 us, a wait 50."""
    placement = chain((500, 100), (100, 105), (500, 100), (300, None), (70, 10))
    assert [(placed.on_gpu, placed.why) for placed in placement.operations] == [
        (True, "faster there"),
        (True, "beside operations of the GPU: copies would take longer"),
        (True, "faster there"),
        (False, "no kernel"),
        (False, "copies and waiting take longer than they save"),
    ]
    assert placement.seconds == pytest.approx(753e-6)
    assert placement.copy_seconds == pytest.approx(78e-6)
    (left,) = placement.left.values()
    assert left == "copies and waiting take longer than they save"
    assert [placed.why for placed in chain((5, 9)).operations] == ["faster on the processor"]


def test_prices_of_a_gpu():
    x, y = (Value(n, (100, 200), "float32") for n in "xy")
    weight = np.zeros((200, 200), np.float32)
    w = Value("w", weight.shape, "float32", constant=weight)
    product = Operation(MatrixMultiply(), [x, w], [y])
    # 8 million operations at 100 in a nanosecond
    assert gpu_seconds(product, SPEED) == pytest.approx(5e-6 + 80e-6)
    # 160 KB at 10 in a microsecond
    assert gpu_seconds(elementwise([x], y), SPEED) == pytest.approx(5e-6 + 16e-6)
    # 5000 vectors of results where 20000 work items would keep the device busy
    assert gpu_seconds(product, SPEED, 20000) == pytest.approx(5e-6 + 4 * 80e-6)
