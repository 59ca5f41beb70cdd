"""Contents that do not stay in memory."""

import errno
import hashlib
import os

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from edgecomp.buffers import (
    BufferReader,
    MappedFile,
    Spool,
    bytes_of,
    forget,
    mapped_file,
    pieces,
    read_or_map,
    sha256_of,
    spooled,
    write_pieces,
)
from edgecomp.cache import keep_beside


@pytest.mark.parametrize("kept_bytes", [-1, 0, 7, 1 << 20])
def test_what_is_written_comes_back(kept_bytes):
    spool = Spool(kept_bytes)
    parts = [b"abc", b"", bytes(range(200)) * 100, b"end"]
    assert [spool.write(part) for part in parts] == [len(part) for part in parts]
    assert len(spool) == sum(map(len, parts))
    assert bytes(spool.finish()) == b"".join(parts)


def test_nothing_written_is_nothing():
    assert bytes(Spool().finish()) == b""


def test_a_mapped_buffer_is_read_again_after_it_was_forgotten():
    content = np.random.default_rng(0).integers(0, 256, 20 << 20).astype(np.uint8)
    spool = Spool(0)
    spool.write(bytes_of(content))
    mapped = spool.finish()
    assert b"".join(pieces(mapped)) == content.tobytes()
    forget(mapped)
    forget(mapped[5:100_000])
    assert bytes(mapped) == content.tobytes()


@hypothesis.given(st.integers(0, 3000), st.integers(0, 3000), st.booleans())
def test_forgetting_any_part_changes_nothing(start, count, whole):
    array = spooled(np.arange(3000, dtype=np.int32))
    forget(array if whole else array[start : start + count])
    np.testing.assert_array_equal(array, np.arange(3000))


def test_what_is_not_mapped_is_left_alone():
    array = np.arange(10)
    forget(array)
    forget(b"abc")
    forget(None)
    np.testing.assert_array_equal(array, np.arange(10))


def test_arrays_in_another_order_are_written_row_major(rng):
    array = rng.standard_normal((5, 7, 3)).transpose(2, 0, 1)
    moved = spooled(array)
    np.testing.assert_array_equal(moved, array)
    assert moved.flags.c_contiguous
    assert not moved.flags.writeable


@pytest.mark.parametrize("size", [0, 10, 17 << 20])
def test_files_are_read_or_mapped(tmp_path, size):
    content = bytes(size)
    write_pieces(tmp_path / "file", content)
    assert bytes(read_or_map(tmp_path / "file")) == content


def test_a_buffer_is_read_as_a_file():
    reader = BufferReader(memoryview(b"0123456789"))
    assert reader.read(3) == b"012"
    assert reader.seek(-2, 2) == 8
    assert reader.read() == b"89"
    assert reader.seek(1) == 1
    assert reader.seek(2, 1) == 3
    assert reader.read(2) == b"34"


def test_every_file_of_a_mapped_one_is_its_own(tmp_path, rng):
    content = rng.integers(0, 256, 10_000).astype(np.uint8).tobytes()
    spool = Spool(0)
    spool.write(content)
    mapped = spool.finish()
    write_pieces(tmp_path / "first", mapped)
    write_pieces(tmp_path / "second", mapped)
    write_pieces(tmp_path / "part", mapped[:5000])
    keep_beside(tmp_path / "kept", mapped_file(mapped))
    names = ("first", "second", "kept")
    assert all((tmp_path / name).read_bytes() == content for name in names)
    assert len({(tmp_path / name).stat().st_ino for name in names}) == len(names)
    assert bytes(mapped) == content
    assert (tmp_path / "part").read_bytes() == content[:5000]
    assert sha256_of(mapped) == sha256_of(content) == hashlib.sha256(content).hexdigest()
    assert mapped_file(mapped) is not None
    assert mapped_file(mapped[1:]) is None
    assert mapped_file(content) is None


def test_a_file_that_the_system_does_not_copy(tmp_path, monkeypatch):
    spool = Spool(0)
    spool.write(b"content")
    monkeypatch.setattr(os, "copy_file_range", _refuse)
    write_pieces(tmp_path / "file", spool.finish())
    assert (tmp_path / "file").read_bytes() == b"content"


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without a name are Linux's")
def test_a_file_gets_one_name(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECOMP_CACHE_DIR", str(tmp_path))
    spool = Spool(0)
    spool.write(b"content")
    mapped = mapped_file(spool.finish())
    assert mapped.link(tmp_path / "name")
    assert (tmp_path / "name").read_bytes() == b"content"
    assert not mapped.link(tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="files without a name are Linux's")
def test_only_the_second_file_is_a_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGECOMP_CACHE_DIR", str(tmp_path))
    spool, copied = Spool(0), []
    spool.write(b"content")
    content = spool.finish()
    monkeypatch.setattr(MappedFile, "append_to", lambda _, file: copied.append(file.name))
    for name in ("first", "second"):
        write_pieces(tmp_path / name, content)
    assert list(map(str, copied)) == [str(tmp_path / "second")]
    assert (tmp_path / "first").read_bytes() == b"content"


def _refuse(*_: object, **__: object) -> None:
    raise OSError(errno.EXDEV, "another device")
