"""A plan as files that a toolchain reads."""

import dataclasses

from helpers.small_plan import small_plan
from helpers.targets import AVX2

from edgecomp.bundle.plan_files import padded_weights, write_plan, write_runtime
from edgecomp.plan.plan import Storage
from edgecomp.plan.values import SLACK_BYTES


def test_weights_end_with_readable_bytes():
    plan = small_plan(AVX2)
    last = max(t.offset_bytes + t.bytes for t in plan.tensors if t.storage is Storage.WEIGHTS)
    short = dataclasses.replace(plan, weights=plan.weights[:last])
    assert padded_weights(short) == plan.weights[:last] + bytes(SLACK_BYTES)
    assert padded_weights(plan) == plan.weights
    assert padded_weights(dataclasses.replace(plan, tensors=[], weights=b"")) == bytes(64)


def test_plans_of_one_folder_share_the_runtime(tmp_path):
    plan = small_plan(AVX2)
    other = dataclasses.replace(plan, name="other")
    runtime = write_runtime(tmp_path)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert before == {tmp_path / path for path in runtime.contents}
    for each, embedded in ((plan, False), (other, True)):
        kernels = write_plan(tmp_path, each, AVX2, padded_weights(each), embedded=embedded)
        assert len(kernels) == len(plan.objects)
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    sources = {"include/small.h", "src/small.c", "include/other.h", "src/other.c"}
    wanted = {*kernels, *sources, "src/other_weights.S"}
    assert after - before == {tmp_path / path for path in wanted}
