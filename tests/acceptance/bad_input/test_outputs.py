"""Outputs that are there already, that cannot be written, or for which the disk is too small."""

import os
import pathlib
import subprocess

import numpy as np
import pytest
from helpers.bad_input import Result, check_message, contents
from helpers.prefork import Server

from edgecomp.errors import Code

BUILD = ("build", "model.onnx", "-o")
DEBUG = ("debug", "model.onnx", "--calibration-data", "data.npy")
QUANTIZE = ("quantize", "model.onnx", "--calibration-data", "data.npy", "-o")


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture
def data(folder):
    np.save(folder / "data.npy", np.random.default_rng(0).random((4, 3, 8, 9), np.float32))


def test_an_output_that_exists(refused, folder, data):
    (folder / "old").mkdir()
    (folder / "old" / "manifest.json").write_text("the older one")
    (folder / "old.onnx").write_text("the older one")
    refused((*BUILD, "old"), Code.OUTPUT_EXISTS, "file ", "old", "--force")
    refused((*QUANTIZE, "old.onnx"), Code.OUTPUT_EXISTS, "old.onnx", "--force")


def test_force_replaces_bundles_only(refused, folder, data):
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").write_text("mine")
    (folder / "file").write_text("mine")
    (folder / "link").symlink_to("photos")
    for name in ("photos", "file", "link"):
        refused((*BUILD, name, "--force"), Code.OUTPUT_EXISTS, name, "not a bundle")
    refused((*QUANTIZE, "photos", "--force"), Code.OUTPUT_EXISTS, "photos", "folder")


def test_force_replaces_a_bundle(run, folder):
    (folder / "old").mkdir()
    (folder / "old" / "manifest.json").write_text("the older one")
    assert run(*BUILD, "old", "--force", "--toolchain", "none").status == 0
    assert "edgecomp-bundle" in (folder / "old" / "manifest.json").read_text()
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.onnx", "old"}


def test_force_keeps_the_old_bundle_until_the_new_one_is_whole(run, folder):
    (folder / "old").mkdir()
    (folder / "old" / "manifest.json").write_text("the older one")
    (folder / "model.onnx").write_text("no model")
    before = contents(folder)
    check_message(run(*BUILD, "old", "--force"), Code.MODEL_UNREADABLE, "model.onnx")
    assert contents(folder) == before


def test_places_that_cannot_be_written(refused, folder, data):
    (folder / "file").write_text("mine")
    for place in ("file/bundle", "/proc/bundle", "x" * 300):
        refused((*BUILD, place), Code.OUTPUT_UNWRITABLE, place)
    for place in ("file/q.onnx", "/proc/q.onnx"):
        refused((*QUANTIZE, place), Code.OUTPUT_UNWRITABLE, place)


@pytest.mark.parametrize(
    "command",
    [
        (*BUILD, "{}"),
        (*BUILD, "{}", "--force"),
        (*BUILD, "bundle", "--precision", "w8a8", "--data-free", "--save-recipe", "{}/r.yaml"),
        (*BUILD, "bundle", "--dump-passes", "{}"),
        (
            *BUILD,
            "{}",
            "--precision",
            "w8a8",
            "--calibration-data",
            "data.npy",
            "--max-bytes",
            "9",
        ),
        (*QUANTIZE, "{}"),
        (*QUANTIZE, "q.onnx", "--save-recipe", "{}/r.yaml"),
        (*DEBUG, "-o", "{}/r.yaml"),
        (*DEBUG, "--apply", "{}/r.yaml"),
        (*DEBUG, "--html", "{}"),
        (*DEBUG, "--node-data", "{}"),
        (*DEBUG, "--dump-passes", "{}"),
        ("tune", "model.onnx", "-o", "{}"),
        ("check", "model.onnx", "--sarif", "{}"),
    ],
)
@pytest.mark.parametrize("place", ["file/deeper", "/proc/deeper", "new/" + 300 * "x"])
def test_before_any_work_is_done(refused, folder, data, command, place):
    """The model, which cannot be read, is not looked at."""
    (folder / "file").write_text("mine")
    (folder / "model.onnx").write_text("no model")
    written = [part.format(place) for part in command]
    refused(written, Code.OUTPUT_UNWRITABLE, place)


@pytest.mark.parametrize("place", ["file/deeper", "/proc/deeper"])
def test_before_a_bundle_runs(refused, folder, built, place):
    """The device and the input, which are not there, are not looked for."""
    (folder / "file").write_text("mine")
    elsewhere = ("--device", "ssh:nobody@nowhere.invalid")
    benchmark = ("benchmark", built, "--result-json", place, *elsewhere)
    refused(benchmark, Code.OUTPUT_UNWRITABLE, place)
    refused(("run", built, "-i", "none.npy", "-o", place), Code.OUTPUT_UNWRITABLE, place)


def test_a_folder_for_a_file(refused, folder, built):
    (folder / "folder").mkdir()
    refused(("benchmark", built, "--result-json", "folder"), Code.OUTPUT_UNWRITABLE, "folder")
    refused(("check", "model.onnx", "--sarif", "folder"), Code.OUTPUT_UNWRITABLE, "folder")
    refused(("tune", "model.onnx", "-o", "folder"), Code.OUTPUT_UNWRITABLE, "folder")


def test_one_output_inside_another(refused, folder, data):
    recipe = ("--save-recipe", "bundle/r.yaml", "--precision", "w8a8", "--data-free")
    refused((*BUILD, "bundle", *recipe), Code.USAGE, "--save-recipe", "inside --output")
    cache = ("--cache-dir", "x/../bundle/cache")
    refused((*BUILD, "bundle", *cache), Code.USAGE, "--cache-dir", "inside --output")
    refused((*DEBUG, "--html", "h", "--dump-passes", "h/p"), Code.USAGE, "inside --html")


def test_a_folder_without_permission(refused, folder, data):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (folder / "locked").mkdir(mode=0o555)
    refused((*BUILD, "locked/bundle"), Code.OUTPUT_UNWRITABLE, "locked/bundle")
    refused((*QUANTIZE, "locked/q.onnx"), Code.OUTPUT_UNWRITABLE, "locked/q.onnx")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a given size; skips where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(size):
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "edgecomp-test", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"no file system can be mounted here: {error}")
        if done.returncode:
            pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
        return place

    yield mount
    if os.path.ismount(place):  # lazily: onnxruntime keeps a file of its own open in TMPDIR
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.parametrize("size", ["16k", "200k", "600k", "1m"])
def test_a_full_disk(run, folder, small_disk, size):
    """The bundle needs 1.3 MB: weights, sources, objects, libraries run out in turn."""
    disk = small_disk(size)
    result = run(*BUILD, disk / "bundle")
    check_message(result, Code.OUTPUT_UNWRITABLE, "No space left", str(disk / "bundle"))
    assert contents(disk) == {}


def test_a_full_disk_for_files(run, folder, data, small_disk):
    disk = small_disk("4k")
    (disk / "filler").write_bytes(bytes(4096))
    result = run(*QUANTIZE, disk / "q.onnx")
    check_message(result, Code.OUTPUT_UNWRITABLE, "No space left", str(disk / "q.onnx"))
    assert list(contents(disk)) == ["filler"]


def test_a_full_disk_for_outputs(run, folder, built, small_disk):
    disk = small_disk("4k")
    (disk / "filler").write_bytes(bytes(4096))
    np.save("x.npy", np.zeros((1, 3, 8, 9), np.float32))
    result = run("run", built, "-i", "x.npy", "-o", disk / "o")
    check_message(result, Code.OUTPUT_UNWRITABLE, "No space left", str(disk / "o"))
    assert list(contents(disk)) in (["filler"], ["filler", "o"])


def test_a_full_disk_for_the_cache(run, folder, small_disk):
    """A cache that is full costs time, not the build."""
    disk = small_disk("16k")
    result = run(*BUILD, "bundle", "--cache-dir", disk / "cache", "--toolchain", "none")
    assert result.status == 0, result
    assert not list(disk.rglob("*.part"))


def test_a_full_disk_for_temporary_files(run, folder, small_disk, monkeypatch):
    import tempfile

    disk = small_disk("4k")
    (disk / "filler").write_bytes(bytes(4096))
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    monkeypatch.setenv("TMPDIR", str(disk))
    result = run(*BUILD, "bundle")
    if result.status:
        check_message(result, Code.OUTPUT_UNWRITABLE, "No space left")
        assert not (folder / "bundle").exists()
    else:
        assert run("verify", "bundle").status == 0
    assert list(contents(disk)) == ["filler"]


@pytest.mark.parametrize("limit_bytes", [2_000, 30_000, 100_000])
def test_files_may_not_become_large(server, folder, limit_bytes):
    """What a quota does: the write of one file fails in the middle."""
    process = server.start(*BUILD, "bundle", folder=folder, largest_file_bytes=limit_bytes)
    status = process.wait()
    said = process.said()
    process.errors.unlink()
    assert status in (Code.OUTPUT_UNWRITABLE.exit_code, Code.TOOLCHAIN_FAILED.exit_code), said
    code = next(c for c in Code if f"error: {c.text}: " in said)
    if code is Code.OUTPUT_UNWRITABLE:
        check_message(Result(status, "", said), code, "File too large", "bundle")
    assert code.exit_code == status
    assert "Traceback" not in said
    assert said.count("hint: ") == 1
    assert {path.name for path in folder.iterdir()} == {"model.onnx"}


def test_a_device_file_is_written_not_replaced(run, folder, data):
    before = pathlib.Path("/dev/null").stat()
    assert run(*QUANTIZE, "/dev/null", "--force").status == 0
    after = pathlib.Path("/dev/null").stat()
    assert (after.st_rdev, after.st_ino) == (before.st_rdev, before.st_ino)
