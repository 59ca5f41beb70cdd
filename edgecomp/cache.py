"""Where compiled things are kept between runs, and files that appear whole or not at all."""

import contextlib
import functools
import hashlib
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from edgecomp.buffers import Buffer, MappedFile, pieces, read_or_map, sha256_of
from edgecomp.held import remove_abandoned, try_hold

logger = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size
#: Names of files that are not whole yet.
_PREFIX, _SUFFIX = ".edgecomp-", ".part"


def keep(path: pathlib.Path, content: Buffer) -> None:
    """Store content for ``kept``. A cache that cannot be written costs time, not the build."""
    keep_written(path, lambda stream: stream.write(content))


def keep_written(path: pathlib.Path, write: "Callable[[HashedStream], object]") -> None:
    """The same of what a function writes, which needs not be there in one piece.

    Args:
        path: for ``kept``.
        write: called with a stream.
    """
    try:
        with _whole_file(path) as file:
            stream = HashedStream(file)
            write(stream)
            file.write(stream.digest())
    except OSError as error:
        _warn_once(f"{error.strerror or error}: {error.filename or path}")


def keep_beside(path: pathlib.Path, mapped: MappedFile) -> None:
    """Store a file for ``kept_beside``: under its only name, copied where it has one already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if not mapped.link(path):
            with _whole_file(path) as file:
                mapped.append_to(file)
    except OSError as error:
        _warn_once(f"{error.strerror or error}: {error.filename or path}")


def kept_beside(path: pathlib.Path, sha256: str) -> Buffer | None:
    """What ``keep_beside`` stored; None where it is not there, or has other contents by now.

    A cache is a folder: anybody may have written to what lies in it.
    """
    try:
        with path.open("rb") as file:
            content = memoryview(MappedFile(file.fileno()))
    except (OSError, ValueError):  # gone, or empty
        return None
    return content if sha256_of(content) == sha256 else None


class HashedStream:
    """A file that is written from its beginning to its end, with SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hashed = hashlib.sha256()
        self._bytes = 0

    def write(self, content: Any) -> int:
        """Append a buffer; pages of a mapped one are forgotten. Returns its length."""
        before = self._bytes
        for piece in pieces(content):
            self._hashed.update(piece)
            self._bytes += self._file.write(piece)
        return self._bytes - before

    def tell(self) -> int:
        """How much was written."""
        return self._bytes

    def flush(self) -> None:
        """Nothing waits: ``zipfile`` asks for it."""

    def digest(self) -> bytes:
        """Of all that was written."""
        return self._hashed.digest()


def kept(path: pathlib.Path) -> bytes | None:
    """What ``keep`` stored, None where there is nothing or the disk has damaged it."""
    content = kept_buffer(path)
    return None if content is None else bytes(content)


def kept_buffer(path: pathlib.Path) -> Buffer | None:
    """The same, mapped where it is large."""
    try:
        stored = read_or_map(path)
    except OSError:
        return None
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    return content if sha256_of(content) == bytes(digest).hex() else None


def write_whole(path: pathlib.Path, *contents: Buffer) -> None:
    """Write beside, then rename: a killed process leaves no half file under the final name.

    What it leaves beside is removed by the next one that writes there.

    Raises:
        OSError: the disk refuses; what was at ``path`` is still there.
    """
    if path.exists() and not path.is_file():  # /dev/stdout is written, never replaced
        path.write_bytes(b"".join(contents))
        return
    with _whole_file(path) as file:
        for content in contents:
            for piece in pieces(content):
                file.write(piece)


@contextlib.contextmanager
def _whole_file(path: pathlib.Path) -> Iterator[BinaryIO]:
    path = pathlib.Path(os.path.realpath(path))  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path.parent)
    temporary, file = _create_held(path)
    try:
        with file:
            yield file
            file.flush()
            temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _create_held(path: pathlib.Path) -> tuple[pathlib.Path, BinaryIO]:
    """A new file beside, locked until it is closed."""
    while True:
        temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}{_SUFFIX}")
        file = temporary.open("xb")
        try_hold(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return temporary, file
        file.close()  # another process took it for abandoned before it was locked


def trim(folder: pathlib.Path, most_bytes: int) -> None:
    """Remove the files below a folder that were not used for longest until the rest fits.

    Those with a file's name and a suffix lie beside it: they are as old as that one.
    """
    try:
        files = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
        total = sum(status.st_size for _, status in files)
        ages = {path: status.st_mtime_ns for path, status in files}
        files.sort(key=lambda file: ages.get(file[0].with_suffix(""), ages[file[0]]))
        for path, status in files:
            if total <= most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= status.st_size
    except OSError:
        return  # another process does the same, or the folder cannot be written


@functools.cache
def _clean(folder: pathlib.Path) -> None:
    remove_abandoned(folder, _PREFIX, _SUFFIX)


@functools.cache
def _warn_once(problem: str) -> None:
    logger.warning("compiled code is not kept for the next build: %s", problem)
