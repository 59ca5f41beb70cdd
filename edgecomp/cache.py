"""Where compiled things are kept between runs, and files that appear whole or not at all."""

import functools
import hashlib
import logging
import os
import pathlib
import time
from collections.abc import Sequence

from edgecomp.buffers import Buffer, pieces, read_or_map
from edgecomp.held import remove_abandoned, try_hold

logger = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size
#: Names of files that are not whole yet.
_PREFIX, _SUFFIX = ".edgecomp-", ".part"


def keep(path: pathlib.Path, content: Buffer) -> None:
    """Store content for ``kept``. A cache that cannot be written costs time, not the build."""
    try:
        write_whole(path, content, _digest(content))
    except OSError as error:
        _warn_once(f"{error.strerror or error}: {error.filename or path}")


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
    return content if _digest(content) == digest else None


def _digest(content: Buffer) -> bytes:
    digest = hashlib.sha256()
    for piece in pieces(content):
        digest.update(piece)
    return digest.digest()


def write_whole(path: pathlib.Path, *contents: Buffer) -> None:
    """Write beside, then rename: a killed process leaves no half file under the final name.

    What it leaves beside is removed by the next one that writes there.

    Raises:
        OSError: the disk refuses; what was at ``path`` is still there.
    """
    if path.exists() and not path.is_file():  # /dev/stdout is written, never replaced
        path.write_bytes(b"".join(contents))
        return
    path = pathlib.Path(os.path.realpath(path))  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path.parent)
    while not _try_write_whole(path, contents):
        pass  # another process took the file for abandoned before it was locked


def _try_write_whole(path: pathlib.Path, contents: Sequence[Buffer]) -> bool:
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}{_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            try_hold(file.fileno())
            for content in contents:
                for piece in pieces(content):
                    file.write(piece)
            file.flush()
            if os.fstat(file.fileno()).st_nlink == 0:
                return False
            temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


def trim(folder: pathlib.Path, most_bytes: int) -> None:
    """Remove the files below a folder that were not used for longest until the rest fits."""
    try:
        files = [(path.stat(), path) for path in folder.rglob("*") if path.is_file()]
        total = sum(status.st_size for status, _ in files)
        for status, path in sorted(files, key=lambda file: file[0].st_mtime_ns):
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
