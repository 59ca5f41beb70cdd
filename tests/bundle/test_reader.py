"""Opening what is not a bundle, or is not any more."""

import json
import shutil

import pytest

from edgecomp.bundle import reader
from edgecomp.bundle.reader import open_bundle
from edgecomp.errors import Code, EdgecompError


@pytest.fixture
def copy(host_bundle, tmp_path):
    return shutil.copytree(host_bundle.directory, tmp_path / "copy")


def _edit(folder, change):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _code(folder, action=open_bundle):
    with pytest.raises(EdgecompError) as caught:
        action(folder)
    assert caught.value.path
    return caught.value.code


def test_a_good_bundle(host_bundle, copy):
    bundle = open_bundle(copy)
    bundle.check()
    assert bundle.manifest == host_bundle.manifest
    assert bundle.name == "small"
    assert [p.shape for p in bundle.inputs] == [(3, 5), (9,)]
    assert len(bundle.golden) == 2
    assert bundle.report["coverage"]["fallback_calls"] == 1


def test_a_library_built_again_in_its_place_is_loaded_from_a_copy(copy, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with open_bundle(copy) as bundle:
        (vector, *_) = bundle.golden
        bundle.run(vector.inputs)
        library = bundle.manifest.build.shared
    _edit(copy, lambda m: m["files"][library].update(sha256="0" * 64))
    with open_bundle(copy) as bundle:
        bundle.run(vector.inputs)
    assert [path.name for path in temporary.glob("*/*")] == [bundle.library_path.name]
    reader._copies.close()  # as at the end of the process
    assert list(temporary.iterdir()) == []


def test_nothing_there(tmp_path):
    assert _code(tmp_path / "none") is Code.FILE_MISSING


def test_folder_without_manifest(tmp_path):
    assert _code(tmp_path) is Code.BUNDLE_INVALID


def test_a_file_instead_of_a_folder(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert _code(tmp_path / "model.onnx") is Code.BUNDLE_INVALID


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"format": "zip"}', "\x00\xff"])
def test_manifest_that_is_something_else(copy, text):
    (copy / "manifest.json").write_bytes(text.encode("latin-1"))
    assert _code(copy) is Code.BUNDLE_INVALID


@pytest.mark.parametrize("schema", [1, 999])
def test_another_layout_version(copy, schema):
    _edit(copy, lambda m: m.update(schema=schema))
    assert _code(copy) is Code.BUNDLE_VERSION


@pytest.mark.parametrize("key", ["name", "inputs", "weights", "files", "build", "target"])
def test_missing_entry(copy, key):
    _edit(copy, lambda m: m.pop(key))
    assert _code(copy) is Code.BUNDLE_INVALID


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "a/../../b", ""])
def test_a_manifest_cannot_name_files_outside(copy, path):
    _edit(copy, lambda m: m["files"].update({path: {"bytes": 1, "sha256": ""}}))
    assert _code(copy) is Code.BUNDLE_INVALID


def test_weights_that_are_not_listed(copy):
    _edit(copy, lambda m: m["weights"].update(file="other.bin"))
    assert _code(copy) is Code.BUNDLE_INVALID


@pytest.mark.parametrize("name", ["weights.bin", "lib/libsmall.so", "golden/0/input_0.bin"])
def test_truncated_and_missing_files_are_found_at_once(copy, name):
    path = copy / name
    path.write_bytes(path.read_bytes()[:-1])
    assert _code(copy) is Code.BUNDLE_CORRUPT
    path.unlink()
    with pytest.raises(EdgecompError, match=path.name) as caught:
        open_bundle(copy)
    assert caught.value.code is Code.BUNDLE_CORRUPT


@pytest.mark.parametrize("name", ["weights.bin", "model.onnx", "bin/edgecomp_run"])
def test_a_flipped_byte_is_found_by_check(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    bundle = open_bundle(copy)
    with pytest.raises(EdgecompError, match=name) as caught:
        bundle.check()
    assert caught.value.code is Code.BUNDLE_CORRUPT
