"""Where compiled things are kept between runs, and files that appear whole or not at all."""

import functools
import hashlib
import logging
import os
import pathlib
import time

from edgecomp.held import remove_abandoned, try_hold

logger = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size
#: Names of files that are not whole yet.
_PREFIX, _SUFFIX = ".edgecomp-", ".part"


def cache_folder() -> pathlib.Path:
    """``$EDGECOMP_CACHE_DIR``, else ``edgecomp`` in the user's cache folder."""
    root = os.environ.get("EDGECOMP_CACHE_DIR")
    if root:
        return pathlib.Path(root)
    base = os.environ.get("XDG_CACHE_HOME")
    return (pathlib.Path(base) if base else pathlib.Path.home() / ".cache") / "edgecomp"


def keep(path: pathlib.Path, content: bytes) -> None:
    """Store content for ``kept``. A cache that cannot be written costs time, not the build."""
    try:
        write_whole(path, content + hashlib.sha256(content).digest())
    except OSError as error:
        _warn_once(f"{error.strerror or error}: {error.filename or path}")


def kept(path: pathlib.Path) -> bytes | None:
    """What ``keep`` stored, None where there is nothing or the disk has damaged it."""
    try:
        stored = path.read_bytes()
    except OSError:
        return None
    content, digest = stored[:-_DIGEST_BYTES], stored[-_DIGEST_BYTES:]
    return content if hashlib.sha256(content).digest() == digest else None


def write_whole(path: pathlib.Path, content: bytes) -> None:
    """Write beside, then rename: a killed process leaves no half file under the final name.

    What it leaves beside is removed by the next one that writes there.

    Raises:
        OSError: the disk refuses; what was at ``path`` is still there.
    """
    if path.exists() and not path.is_file():  # /dev/stdout is written, never replaced
        path.write_bytes(content)
        return
    path = pathlib.Path(os.path.realpath(path))  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    _clean(path.parent)
    while not _try_write_whole(path, content):
        pass  # another process took the file for abandoned before it was locked


def _try_write_whole(path: pathlib.Path, content: bytes) -> bool:
    temporary = path.with_name(f"{_PREFIX}{os.getpid()}-{time.monotonic_ns()}{_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            try_hold(file.fileno())
            file.write(content)
            file.flush()
            if os.fstat(file.fileno()).st_nlink == 0:
                return False
            temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return True


@functools.cache
def _clean(folder: pathlib.Path) -> None:
    remove_abandoned(folder, _PREFIX, _SUFFIX)


@functools.cache
def _warn_once(problem: str) -> None:
    logger.warning("compiled code is not kept for the next build: %s", problem)
