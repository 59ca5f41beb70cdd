"""Files that appear whole or not at all, and a cache that survives damage."""

import os
import pathlib
import stat

import pytest

from edgecomp.cache import keep, kept, write_whole


def test_what_is_kept_comes_back(tmp_path):
    keep(tmp_path / "deep" / "a.o", b"content")
    assert kept(tmp_path / "deep" / "a.o") == b"content"
    assert kept(tmp_path / "none.o") is None


@pytest.mark.parametrize("damaged", [b"", b"short", b"x" * 100])
def test_what_the_disk_damaged_is_not_used(tmp_path, damaged):
    (tmp_path / "a.o").write_bytes(damaged)
    assert kept(tmp_path / "a.o") is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("x")
    keep(tmp_path / "file" / "a.o", b"content")


def test_the_older_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError):
        write_whole(path, "no bytes")
    assert path.read_bytes() == b"old"
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_links_stay_links_and_devices_devices(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"x"
    write_whole(pathlib.Path("/dev/null"), b"x")
    assert stat.S_ISCHR(pathlib.Path("/dev/null").stat().st_mode)
