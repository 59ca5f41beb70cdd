import os
import pathlib

import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.writable import require_writable_file, require_writable_folder

REQUIRE = [require_writable_file, require_writable_folder]


def state(folder):
    """All below, and when the folder itself was changed last."""
    return sorted(folder.rglob("*")), folder.stat().st_mtime_ns


@pytest.mark.parametrize("require", REQUIRE)
@pytest.mark.parametrize("name", ["new", "not/there/yet", "x" * 255, "loose"])
def test_a_place_that_can_be_written_stays_as_it_is(require, name, tmp_path):
    (tmp_path / "loose").symlink_to("elsewhere")
    before = state(tmp_path)
    require(tmp_path / name)
    assert state(tmp_path)[0] == before[0]


def test_an_existing_file_and_folder(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    require_writable_file(tmp_path / "file")
    require_writable_folder(tmp_path / "folder")
    monkeypatch.chdir(tmp_path)
    require_writable_file(pathlib.Path("file"))
    assert (tmp_path / "file").read_text() == "old"
    with pytest.raises(EdgecompError, match="directory"):
        require_writable_file(tmp_path / "folder")
    with pytest.raises(EdgecompError, match="ot a directory"):
        require_writable_folder(tmp_path / "file")


@pytest.mark.parametrize("require", REQUIRE)
@pytest.mark.parametrize("name", ["file/new", "x" * 256, "new/" + "x" * 256, "loop/new"])
def test_a_place_that_cannot_be_written(require, name, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    before = state(tmp_path)
    with pytest.raises(EdgecompError) as caught:
        require(tmp_path / name)
    assert caught.value.code is Code.OUTPUT_UNWRITABLE
    assert caught.value.path == str(tmp_path / name)
    assert state(tmp_path)[0] == before[0]


def test_a_folder_that_another_owns(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "locked").mkdir(mode=0o555)
    for name in ("locked/new", "locked/not/there"):
        for require in REQUIRE:
            with pytest.raises(EdgecompError, match="ermission"):
                require(tmp_path / name)


def test_a_device_is_written_as_it_is():
    require_writable_file(pathlib.Path("/dev/null"))
    assert pathlib.Path("/dev/null").is_char_device()
