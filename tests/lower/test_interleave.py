"""Chains of calls in turns: the same results, and each call's rows before who reads them."""

import dataclasses
import itertools

import numpy as np
import pytest
from helpers.plans import PlanRunner
from helpers.programs import model_of, program_of
from helpers.targets import AVX2, AVX512

from edgecomp.lower.fuse import fuse
from edgecomp.lower.interleave import interleave
from edgecomp.lower.layout import assign_layout
from edgecomp.lower.lower import lower
from edgecomp.lower.select import select
from edgecomp.lower.strips import group_bounds, run_of
from edgecomp.plan.plan import StripFlag

HEAD = '<ir_version: 10, opset_import: ["" : 21]>'
RNG = np.random.default_rng(0)


def weight(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


#: Two blocks: at stride 1 with 41 rows, then at stride 2; windows of 3 and of 5.
BLOCKS = """g (float[1,8,41,38] x) => (float[1,16,21,19] y) {
    a = Conv (x, expand1)
    b = Conv <pads = [1,1,1,1], group = 48> (a, depthwise1)
    c = Conv (b, reduce1)
    d = Add (c, x)
    e = Conv (d, expand2)
    f = Conv <pads = [2,2,2,2], strides = [2,2], group = 40> (e, depthwise2)
    y = Conv (f, reduce2)
}"""
WEIGHTS = {
    "expand1": weight(48, 8, 1, 1),
    "depthwise1": weight(48, 1, 3, 3),
    "reduce1": weight(8, 48, 1, 1),
    "expand2": weight(40, 8, 1, 1),
    "depthwise2": weight(40, 1, 5, 5),
    "reduce2": weight(16, 40, 1, 1),
}


def with_cache(target, l2_bytes):
    return dataclasses.replace(
        target, core=dataclasses.replace(target.core, l2_bytes=l2_bytes)
    )


def steps_of(body, target, **constants):
    program = program_of(HEAD + body, target, **constants)
    fuse(program)
    assign_layout(program)
    selected = select(program, target)
    return selected, interleave(selected, target)


def copied(made):
    return {image: (call, list(ranges)) for image, (call, ranges) in made.items()}


def write(made, step):
    """Add a step's items to those of the image that it writes."""
    key = step.call.arguments[-1], fills(step.call)
    ranges = made.setdefault(key, (step.call, []))[1]
    ranges.append((step.first, step.count))


def fills(call):
    return len(call.arguments) == 1


def check_reads(made, step):
    """All rows that a step reads are complete, and so is what of the halo lies beside them."""
    call = step.call
    if fills(call):
        return
    for is_fill in (False, True):
        writer, ranges = made.get((call.arguments[0], is_fill), (None, ()))
        if call.progress and writer is not None and writer.progress:
            assert rows_read(call.progress, step) <= rows_complete(writer.progress, ranges)


def groups_of(steps):
    """Steps of each group; a step without a strip is a group."""
    bounds = group_bounds([(step.strip, step.strip_flags) for step in steps])
    for first, last in sorted(set(bounds)):
        yield steps[first : last + 1]


def rows_read(progress, step):
    """First and last row of its image that a step reads."""
    first = progress.items.index(step.first) + 1 if step.first else 0
    last = progress.items.index(step.first + step.count)
    return set(range(progress.first[first], progress.needed[last]))


def rows_complete(progress, ranges):
    """Rows of which all items are among the ranges."""
    have = {item for first, count in ranges for item in range(first, first + count)}
    starts = (0, *progress.items)
    done = [set(range(*run)) <= have for run in itertools.pairwise(starts)]
    rows = range(progress.done[-1])
    # A row is written from the run in which it begins to the one that completes it.
    runs = [(run_of(progress.begun, row + 1), run_of(progress.done, row + 1)) for row in rows]
    return {
        row for row, (low, high) in zip(rows, runs, strict=True) if all(done[low : high + 1])
    }


@pytest.mark.parametrize("l2_bytes", [1 << 14, 1 << 16, 1 << 17])
def test_every_item_once_and_rows_before_their_readers_whatever_thread_is_late(l2_bytes):
    selected, steps = steps_of(BLOCKS, with_cache(AVX512, l2_bytes), **WEIGHTS)
    assert max(step.strip for step in steps) > 1
    # (image, whether it is the halo) -> the call that writes it, its ranges of items so far
    made = {}
    for group in groups_of(steps):
        before = copied(made)
        for strip in {step.strip for step in group}:
            seen = copied(before)
            own = [step for step in group if step.strip == strip]
            seam = [step for step in own if StripFlag.SEAM in step.strip_flags]
            met = False
            for step in [*seam, *(step for step in own if step not in seam)]:
                if StripFlag.MEETS in step.strip_flags and not met:
                    met = True
                    for other in group:
                        if other.strip == strip + 1 and StripFlag.SEAM in other.strip_flags:
                            write(seen, other)
                check_reads(seen, step)
                write(seen, step)
        for step in group:  # one thread, in the order of the plan
            check_reads(made, step)
            write(made, step)
    items = {}
    for step in steps:
        items.setdefault(step.call, []).extend(range(step.first, step.first + step.count))
    assert all(sorted(each) == list(range(call.work_items)) for call, each in items.items())
    assert len(items) == sum(len(choice.calls) for choice in selected)


def test_a_strip_fills_the_halo_of_its_own_rows():
    _, steps = steps_of(BLOCKS, with_cache(AVX512, 1 << 16), **WEIGHTS)
    parts = [step for step in steps if fills(step.call) and step.strip]
    assert {step.strip for step in parts} == {step.strip for step in steps} - {0}
    assert any(StripFlag.SEAM in step.strip_flags for step in parts)
    for group in groups_of(steps):
        begins = [step for step in group if StripFlag.BEGINS in step.strip_flags]
        assert begins == ([group[0]] if group[0].strip else [])


@pytest.mark.parametrize("l2_bytes", [1 << 14, 1 << 15])
def test_strips_have_about_the_same_work(l2_bytes):
    _, steps = steps_of(BLOCKS, with_cache(AVX512, l2_bytes), **WEIGHTS)
    groups = [group for group in groups_of(steps) if group[0].strip]
    assert groups
    for group in groups:
        works = {}
        for step in group:
            call = step.call
            whole = max(call.multiply_adds, call.arguments[-1].elements)
            works[step.strip] = works.get(step.strip, 0) + whole * step.count / call.work_items
        middle = max(works) // 2
        upper = sum(work for strip, work in works.items() if strip <= middle)
        assert 0.4 < upper / sum(works.values()) < 0.6


def test_large_caches_leave_long_calls_whole(monkeypatch):
    monkeypatch.setattr("edgecomp.lower.interleave.SHORT_NS", 0.0)
    selected, steps = steps_of(BLOCKS, with_cache(AVX512, 1 << 24), **WEIGHTS)
    assert [step.call for step in steps] == [c for choice in selected for c in choice.calls]


def test_short_calls_are_shared_by_strips_and_whole_for_one_thread(monkeypatch):
    monkeypatch.setattr("edgecomp.lower.interleave.SHARE_NS", 500.0)
    monkeypatch.setattr("edgecomp.lower.interleave.SHORT_NS", 80000.0)
    selected, steps = steps_of(BLOCKS, with_cache(AVX512, 1 << 24), **WEIGHTS)
    groups = [group for group in groups_of(steps) if group[0].strip]
    assert groups
    assert all(group[0].strip_flags & StripFlag.SHORT for group in groups)
    begun = [step.call for step in steps if step.first == 0]
    calls = [call for choice in selected for call in choice.calls]
    assert [call for call in begun if not fills(call)] == [c for c in calls if not fills(c)]
    assert {id(call) for call in begun} == {id(call) for call in calls}


def test_batches_stay_whole():
    body = BLOCKS.replace("float[1,", "float[2,")
    selected, steps = steps_of(body, with_cache(AVX512, 1 << 14), **WEIGHTS)
    assert len(steps) == sum(len(choice.calls) for choice in selected)


def test_an_image_that_two_calls_read_is_whole_for_the_second():
    body = """g (float[1,8,41,38] x) => (float[1,8,41,38] y) {
        a = Conv (x, expand1)
        b = Conv <pads = [1,1,1,1], group = 48> (a, depthwise1)
        c = Add (a, b)
        y = Conv (c, reduce1)
    }"""
    target = with_cache(AVX2, 1 << 14)
    model = model_of(HEAD + body, **WEIGHTS)
    x = RNG.standard_normal((1, 8, 41, 38)).astype(np.float32)
    found, expected = (
        PlanRunner(lower(model, each, name="m", workers=1).plan).run({"x": x})["y"]
        for each in (target, with_cache(AVX2, 1 << 24))
    )
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("l2_bytes", [1 << 14, 1 << 16])
def test_same_results(l2_bytes):
    model = model_of(HEAD + BLOCKS, **WEIGHTS)
    x = RNG.standard_normal((1, 8, 41, 38)).astype(np.float32)
    plans = [
        lower(model, with_cache(AVX2, size), name="m", workers=1).plan
        for size in (l2_bytes, 1 << 24)
    ]
    assert len(plans[0].calls) > len(plans[1].calls)
    assert sum(call.multiply_adds for call in plans[0].calls) == sum(
        call.multiply_adds for call in plans[1].calls
    )
    found, expected = (PlanRunner(plan).run({"x": x})["y"] for plan in plans)
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def test_a_chain_is_cut_where_its_images_are_small():
    body = """g (float[1,8,41,38] x) => (float[1,48,41,38] y) {
        a = Conv (x, expand)
        b = Conv <pads = [1,1,1,1], group = 48> (a, depthwise)
        c = Conv (b, reduce)
        d = Conv (c, expand)
        y = Conv <pads = [1,1,1,1], group = 48> (d, depthwise)
    }"""
    constants = {
        "expand": WEIGHTS["expand1"],
        "depthwise": WEIGHTS["depthwise1"],
        "reduce": WEIGHTS["reduce1"],
    }
    _, steps = steps_of(body, with_cache(AVX512, 1 << 14), **constants)
    order = [step.call.arguments[-1].name for step in steps if step.call.progress]
    first = order[: order.index("d")]
    assert {"a", "b", "c"} == set(first)
    assert {"d", "y"} == set(order[len(first) :])
    assert len(first) > 3
    model = model_of(HEAD + body, **constants)
    arenas = [
        lower(model, with_cache(AVX512, size), name="m", workers=1).plan.arena_bytes
        for size in (1 << 14, 1 << 24)
    ]
    assert arenas[0] <= 1.25 * arenas[1]
