import dataclasses

import numpy as np
import pytest
from helpers.targets import A53, AVX512

from edgecomp.lower.grain import SHARE_NS, grain_items, modelled_ns
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.schedule import Constant, KernelCall


def call(*arrays, items=100, multiply_adds=0, grain=1):
    arguments = tuple(Constant(f"c{index}", array) for index, array in enumerate(arrays))
    return KernelCall(Kernel("k", lambda: None), arguments, items, 0, multiply_adds, grain)


def test_small_calls_stay_on_one_thread():
    small = call(np.zeros(100, np.float32))
    assert grain_items(small, AVX512) == small.work_items


def test_large_calls_are_shared_by_the_item():
    large = call(np.zeros(100, np.float32), multiply_adds=10**9)
    assert grain_items(large, AVX512) == 1


def test_a_thread_gets_work_that_pays():
    some = call(np.zeros(10**5, np.float32))
    grain = grain_items(some, AVX512)
    assert 1 < grain < some.work_items
    assert grain / some.work_items * modelled_ns(some, AVX512) >= SHARE_NS


def test_slower_cores_share_more():
    work = call(np.zeros(1, np.float32), multiply_adds=10**6, items=1000)
    assert grain_items(work, A53) < grain_items(work, AVX512)


def test_bytes_are_faster_than_floats():
    floats = call(np.zeros(64, np.float32), multiply_adds=10**6)
    integers = call(np.zeros(64, np.uint8), multiply_adds=10**6)
    assert modelled_ns(integers, AVX512) < modelled_ns(floats, AVX512)


@pytest.mark.parametrize(("grain", "expected"), [(7, 7), (1000, 100)])
def test_grain_of_the_schedule_holds(grain, expected):
    work = dataclasses.replace(call(multiply_adds=10**9), grain_items=grain)
    assert grain_items(work, AVX512) == expected
