"""Bundles of which a part was changed, cut off, removed, or made by another version."""

import json
import shutil
import struct

import numpy as np
import pytest

from edgecomp.errors import Code
from edgecomp.native_abi import MODEL_ABI_VERSION, MODEL_MAGIC

RUN = ("run", "bundle", "-i", "x.npy")
VERIFY = ("verify", "bundle")
REPORT = ("report", "bundle")
BENCHMARK = ("benchmark", "bundle", "--num-runs", "1", "--warmup-runs", "0")


@pytest.fixture
def bundle(folder, built):
    """A copy of the bundle, to be damaged."""
    np.save(folder / "x.npy", np.zeros((1, 3, 8, 9), np.float32))
    shutil.copytree(built, folder / "bundle")
    return folder / "bundle"


def change(path, edit):
    path.write_bytes(edit(path.read_bytes()))


def flipped(content, at):
    changed = bytearray(content)
    changed[at] ^= 1
    return bytes(changed)


def change_manifest(bundle, edit):
    path = bundle / "manifest.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("at", [0, 431, -100])
def test_a_flipped_byte_in_the_weights(refused, bundle, at):
    size = (bundle / "weights.bin").stat().st_size
    change(bundle / "weights.bin", lambda content: flipped(content, at % size))
    for command in (RUN, VERIFY, BENCHMARK):
        refused(command, Code.BUNDLE_CORRUPT, "weights.bin", "again")


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: b"",
    ],
    ids=["half", "one byte short", "one byte long", "empty"],
)
def test_truncated_weights(refused, bundle, edit):
    before = (bundle / "weights.bin").stat().st_size
    change(bundle / "weights.bin", edit)
    found = (bundle / "weights.bin").stat().st_size
    for command in (RUN, VERIFY, REPORT, BENCHMARK):
        refused(
            command, Code.BUNDLE_CORRUPT, "weights.bin", f"{found} bytes instead of {before}"
        )


@pytest.mark.parametrize(
    "name", ["weights.bin", "model.onnx", "lib/libmodel.so", "bin/edgecomp_run", "report.json"]
)
def test_a_missing_file(refused, bundle, name):
    (bundle / name).unlink()
    for command in (RUN, VERIFY, REPORT):
        refused(command, Code.BUNDLE_CORRUPT, name)


@pytest.mark.parametrize(
    "name",
    ["lib/libmodel.so", "bin/edgecomp_run", "model.onnx", "golden/0/output_0.bin"],
)
def test_a_flipped_byte_elsewhere_is_found_by_verify(refused, bundle, name):
    change(bundle / name, lambda content: flipped(content, len(content) // 2))
    refused(VERIFY, Code.BUNDLE_CORRUPT, name)


def test_a_descriptor_of_another_version(refused, bundle):
    """As if the library came from a newer edgecomp; the hashes are those of that file."""
    old = struct.pack("<II", MODEL_MAGIC, MODEL_ABI_VERSION)
    new = struct.pack("<II", MODEL_MAGIC, MODEL_ABI_VERSION + 7)
    for name in ("lib/libmodel.so", "bin/edgecomp_run"):
        content = (bundle / name).read_bytes()
        assert content.count(old) == 1
        (bundle / name).write_bytes(content.replace(old, new))
    version = f"version {MODEL_ABI_VERSION + 7}"
    refused(RUN, Code.BUNDLE_VERSION, version, "libmodel.so")
    refused(VERIFY, Code.BUNDLE_CORRUPT, "edgecomp_run")
    refused(BENCHMARK, Code.BUNDLE_VERSION, version)


@pytest.mark.parametrize("schema", [0, 1, 3, None, "2"])
def test_a_manifest_of_another_version(refused, bundle, schema):
    change_manifest(bundle, lambda content: content.update(schema=schema))
    for command in (RUN, VERIFY, REPORT, BENCHMARK):
        refused(command, Code.BUNDLE_VERSION, "manifest.json", str(schema))


@pytest.mark.parametrize(
    "edit",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"\xff\xfe\x00",
        lambda content: b"[" * 100_000,
        lambda content: b"[1]",
        lambda content: content.replace(b'"format"', b'"fromat"'),
        lambda content: content.replace(b'"inputs"', b'"input"'),
        lambda content: content.replace(b'"weights.bin"', b'"../../weights.bin"'),
        lambda content: content.replace(b'"lib/libmodel.so"', b'"/etc/passwd"'),
    ],
)
def test_a_damaged_manifest(refused, bundle, edit):
    change(bundle / "manifest.json", edit)
    refused(RUN, Code.BUNDLE_INVALID, "manifest")


def test_an_input_that_the_library_does_not_have(refused, bundle):
    """A manifest that lies is found where the library is opened."""
    np.save("x.npy", np.zeros((1, 3, 8, 8), np.float32))
    change_manifest(bundle, lambda m: m["inputs"][0].update(shape=[1, 3, 8, 8]))
    refused(RUN, Code.INPUT_MISMATCH, "'x'", "[1, 3, 8, 9]")


def test_what_is_no_bundle(refused, folder):
    (folder / "photos").mkdir()
    for verb in ("run", "verify", "report", "benchmark"):
        refused((verb, "none"), Code.FILE_MISSING, "none")
        refused((verb, "photos"), Code.BUNDLE_INVALID, "photos", "manifest.json")
        refused((verb, "model.onnx"), Code.BUNDLE_INVALID, "model.onnx")


def test_a_bundle_for_another_processor(refused, bundle):
    change_manifest(bundle, lambda m: m["target"].update(isa="riscv64", name="visionfive"))
    refused(RUN, Code.DEVICE_FAILED, "riscv64", "visionfive")
