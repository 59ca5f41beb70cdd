"""Records of builds: what decides their key, what they hold, how much of them is kept."""

import dataclasses
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.models import digits, digits_data
from helpers.small_plan import small_plan
from helpers.targets import AVX2

from edgecomp import api
from edgecomp.buffers import Spool, write_pieces
from edgecomp.bundle import record
from edgecomp.bundle.record_key import record_key
from edgecomp.cache import HashedStream, trim
from edgecomp.device.load import load_target
from edgecomp.options import BuildOptions


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "digits.onnx"
    api.save(digits().clone(), path)
    return path


@pytest.fixture
def samples(tmp_path):
    path = tmp_path / "samples.npy"
    np.save(path, digits_data()[2][:8])
    return path


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def steps_of_two(model, tmp_path, **settings):
    """Steps of a build and of the same again, whose bundles are equal."""
    steps = []
    for name in ("first", "second"):
        done = []
        options = BuildOptions(
            output=tmp_path / name, cache_dir=tmp_path / "cache", **settings
        )
        api.build(str(model), options, lambda step, *_, done=done: done.append(step))
        steps.append(set(done))
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    return steps


def test_a_second_build_only_writes(model, samples, tmp_path):
    settings = {"precision": "w8a8", "calibration_data": str(samples)}
    first, second = steps_of_two(model, tmp_path, **settings)
    assert "calibrate" in first
    assert not second & {"read the model", "calibrate", "lower", "compile kernels"}


@pytest.mark.parametrize("target", ["generic-opencl", "adreno-7xx"])
def test_a_second_build_for_a_gpu(model, tmp_path, target):
    first, second = steps_of_two(model, tmp_path, target=target, toolchain="none")
    assert "read the model" in first - second
    source = (tmp_path / "first" / "src" / f"{model.stem}.c").read_text()
    assert "EC_LAUNCH_KERNEL" in source
    assert (".images = images_" in source) == (target == "adreno-7xx")


def test_a_second_build_loads_no_compiler(model, tmp_path):
    code = (
        "import sys; from edgecomp import api; from edgecomp.options import BuildOptions as O;"
        "import pathlib; a = [pathlib.Path(p) for p in sys.argv[1:]];"
        "api.build(a[0], O(output=a[1], cache_dir=a[2], force=True));"
        "heavy = ('edgecomp.lower.compile_ahead', 'torch', 'onnxruntime', 'onnx_ir');"
        "print([m for m in heavy if m in sys.modules])"
    )
    arguments = [str(model), str(tmp_path / "out"), str(tmp_path / "cache")]
    first = "['edgecomp.lower.compile_ahead', 'onnxruntime', 'onnx_ir']"
    for expected in (first, "[]"):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def key(source, target="x86-64-v3", **options):
    return record_key(source, BuildOptions(**options), load_target(target))


def test_what_decides_the_key(model, samples, tmp_path):
    calibrated = {"precision": "w8a8", "calibration_data": str(samples)}
    keys = [
        key(model),
        key(model, seed=1),
        key(model, target="raspberry-pi-4"),
        key(model, name="other"),
        key(model, **calibrated),
    ]
    np.save(samples, digits_data()[2][8:16])
    keys.append(key(model, **calibrated))
    model.write_bytes(model.read_bytes().replace(b"Conv", b"Covn", 1))
    keys.append(key(model))
    assert all(keys)
    assert len(set(keys)) == len(keys)


def test_what_does_not_decide_the_key(model, tmp_path):
    other = key(model, output=tmp_path / "x", force=True, embed_weights=True, toolchain="none")
    assert key(model) == other


def test_no_key_without_fixed_contents(model, tmp_path):
    script = tmp_path / "calibrate.py"
    script.write_text("def get_calibration_data(): return []\n")
    assert not key(digits())
    assert not key("module.py:function")
    assert not key(tmp_path / "missing.onnx")
    assert not key(model, dump_passes=tmp_path / "dump")
    assert not key(model, precision="w8a8", calibration_data=str(script))


def test_weights_in_another_file_decide_the_key(tmp_path):
    import onnx_ir as ir

    path = tmp_path / "model.onnx"
    ir.save(digits().clone(), path, external_data="weights.bin", size_threshold_bytes=0)
    before = key(path)
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(data)
    assert before != key(path)
    (tmp_path / "weights.bin").unlink()
    assert not key(path)


def test_a_damaged_record_is_none(model, tmp_path):
    cache = tmp_path / "cache"
    options = BuildOptions(output=tmp_path / "a", cache_dir=cache, toolchain="none")
    api.build(model, options)
    (path,) = (cache / "builds").iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert record.find_record(path.name, cache) is None
    api.build(model, dataclasses.replace(options, output=tmp_path / "b"))
    assert record.find_record(path.name, cache) is not None


def test_old_records_make_room(model, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    options = BuildOptions(output=tmp_path / "a", cache_dir=cache, toolchain="none")
    api.build(model, options)
    (first,) = (cache / "builds").iterdir()
    monkeypatch.setattr(record, "MOST_BYTES", first.stat().st_size * 3 // 2)
    api.build(model, dataclasses.replace(options, output=tmp_path / "b", seed=1))
    (left,) = (cache / "builds").iterdir()
    assert left != first


def test_a_cpu_plan_is_in_the_record(tmp_path):
    own = small_plan(AVX2)
    cpu_plan = dataclasses.replace(own, arena_bytes=64, weights=b"", objects={})
    plan = dataclasses.replace(own, cpu_plan=cpu_plan, weights=bytes(own.weights))
    written = io.BytesIO()
    record._pack(record.Record(plan, b"model", b"", [], {}), HashedStream(written))
    kept = record._unpack(written.getvalue(), tmp_path / "record")
    assert dataclasses.replace(kept.plan, weights=bytes(kept.plan.weights)) == plan


def spooled_record(content):
    plan = small_plan(AVX2)
    spool = Spool(-1)
    spool.write(content)
    plan = dataclasses.replace(plan, weights=spool.finish())
    return record.Record(plan, b"model", b"", [], {})


def test_large_weights_lie_beside_the_record(tmp_path):
    content = bytes(range(256)) * 100
    record.keep_record("key", spooled_record(content), tmp_path)
    beside = tmp_path / "builds" / "key.weights"
    assert beside.read_bytes() == content
    assert (tmp_path / "builds" / "key").stat().st_size < len(content)
    found = record.find_record("key", tmp_path)
    assert bytes(found.plan.weights) == content
    with beside.open("r+b") as file:  # as who edits a bundle in place
        file.write(b"other")
    assert record.find_record("key", tmp_path) is None
    record.keep_record("key", spooled_record(content), tmp_path)
    assert bytes(record.find_record("key", tmp_path).plan.weights) == content
    beside.unlink()
    assert record.find_record("key", tmp_path) is None


def test_what_lies_beside_goes_with_its_record(tmp_path):
    folder = tmp_path / "builds"
    for age_s, key in ((300, "used"), (200, "old"), (100, "new")):
        record.keep_record(key, spooled_record(bytes(range(256)) * 100), tmp_path)
        os.utime(folder / key, (1e9 - age_s, 1e9 - age_s))
    os.utime(folder / "used")
    size = sum(path.stat().st_size for path in folder.glob("new*"))
    trim(folder, 2 * size)
    left = {path.name for path in folder.iterdir()}
    assert left == {"new", "new.weights", "used", "used.weights"}


def test_a_bundle_and_its_record_share_no_file(tmp_path):
    content = bytes(range(256)) * 100
    made = spooled_record(content)
    with record.keeping("key", made, tmp_path):
        write_pieces(tmp_path / "weights.bin", made.plan.weights)
    assert (tmp_path / "weights.bin").read_bytes() == content
    with (tmp_path / "weights.bin").open("r+b") as file:  # as who edits a bundle in place
        file.write(b"other")
    assert bytes(record.find_record("key", tmp_path).plan.weights) == content
