"""The program that times a layer computes what the layer does, in every candidate."""

import itertools

import numpy as np
import pytest
from helpers.dense import Conv, make_float
from helpers.kernels import read
from helpers.plans import PlanRunner
from helpers.targets import AVX2, reason_not_runnable

from edgecomp.lower.compile import compile_kernels
from edgecomp.plan.plan import Storage
from edgecomp.schedules.candidates import candidates, emit_candidate
from edgecomp.tune.program import MOST_FLUSH_BYTES, flush_bytes, timing_plan

CASE = Conv(c=8, m=20, h=5, w=6, k=(3, 3), p=(1, 1, 1, 1), residual=True)


@pytest.fixture
def timing(rng):
    operation, buffers, expected = make_float(CASE, rng)
    # One tile for all: candidates whose constants lie alike compute the same in shared memory.
    found = [c for c in candidates(operation, AVX2) if c.schedule == "convolution_nhwc"]
    emitted = [emit_candidate(operation, AVX2, c) for c in found[:1] * 2]
    return timing_plan(operation, emitted, AVX2, 8192), operation, buffers, expected


def test_calls_are_flush_touch_and_kernel(timing):
    plan = timing[0].plan
    names = [call.kernel.split("_")[1] for call in plan.calls]
    assert names == ["flush", "touch", "touch", "touch", "convolution"] * 2
    assert timing[0].timed == [[4], [9]]
    arena = [t for t in plan.tensors if t.storage is Storage.ARENA]
    spans = sorted((t.offset_bytes, t.offset_bytes + t.bytes + 64) for t in arena)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    assert spans[-1][1] <= plan.arena_bytes


def test_flushing_and_touching_change_no_number(timing):
    if reason_not_runnable(AVX2):
        pytest.skip(reason_not_runnable(AVX2))
    timed, operation, buffers, expected = timing
    timed.plan.objects = compile_kernels(timed.kernels, AVX2, workers=1)
    feeds = {value.name: flat.reshape(-1) for value, flat in buffers.items()}
    found = PlanRunner(timed.plan).run(feeds)
    got = read(operation.output, found[operation.output.name])
    assert np.allclose(got, expected, rtol=0, atol=1e-4)


def test_as_much_is_flushed_as_passes_through_the_caches():
    assert flush_bytes(0) == 4096
    assert flush_bytes(4097) == 8192
    assert flush_bytes(1 << 40) == MOST_FLUSH_BYTES
