"""A plan as files that a toolchain reads."""

import dataclasses

import xxhash
from helpers.small_plan import small_plan
from helpers.targets import AVX2

from edgecomp.bundle.plan_files import WrittenWeights, write_plan, write_runtime, write_weights
from edgecomp.plan.plan import Storage
from edgecomp.plan.values import SLACK_BYTES


def written(path, plan):
    found = write_weights(path, plan)
    content = path.read_bytes()
    assert (found.bytes, found.xxh3) == (len(content), xxhash.xxh3_64_intdigest(content))
    return content


def test_weights_end_with_readable_bytes(tmp_path):
    plan = small_plan(AVX2)
    path = tmp_path / "weights.bin"
    last = max(t.offset_bytes + t.bytes for t in plan.tensors if t.storage is Storage.WEIGHTS)
    short = dataclasses.replace(plan, weights=plan.weights[:last])
    assert written(path, short) == plan.weights[:last] + bytes(SLACK_BYTES)
    assert written(path, plan) == plan.weights
    assert written(path, dataclasses.replace(plan, tensors=[], weights=b"")) == bytes(64)


def test_plans_of_one_folder_share_the_runtime(tmp_path):
    plan = small_plan(AVX2)
    other = dataclasses.replace(plan, name="other")
    runtime = write_runtime(tmp_path)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert before == {tmp_path / path for path in runtime.contents}
    for each, embedded in ((plan, False), (other, True)):
        kernels = write_plan(tmp_path, each, AVX2, WrittenWeights(64, 0), embedded=embedded)
        assert len(kernels) == len(plan.objects)
    after = {path for path in tmp_path.rglob("*") if path.is_file()}
    sources = {"include/small.h", "src/small.c", "include/other.h", "src/other.c"}
    wanted = {*kernels, *sources, "src/other_weights.S"}
    assert after - before == {tmp_path / path for path in wanted}
