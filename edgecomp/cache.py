"""Where compiled things are kept between runs, and files that appear whole or not at all."""

import functools
import hashlib
import logging
import os
import pathlib
import time

logger = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size
#: A temporary file older than this belongs to a process that was killed.
_STALE_S = 3600


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
    """Write beside, then rename: a killed process leaves no half file under the final name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[-100:]}.{os.getpid()}-{time.monotonic_ns()}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_stale(path: pathlib.Path) -> None:
    """Remove what killed processes left of ``write_whole`` to this path."""
    prefix = f".{path.name[-100:]}."
    for other in path.parent.glob(".*.part"):
        if other.name.startswith(prefix) and other.stat().st_mtime < time.time() - _STALE_S:
            other.unlink(missing_ok=True)


@functools.cache
def _warn_once(problem: str) -> None:
    logger.warning("compiled code is not kept for the next build: %s", problem)
