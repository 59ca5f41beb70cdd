"""Temporary folders and files that do not outlive a killed process for long.

Each is held by a file lock while it is used. The system gives a lock back when the process ends,
however it ends, so that the next one can tell what was left over from what is still used.
"""

import contextlib
import fcntl
import functools
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

_ATTEMPTS = 100
_SCRATCH = "edgecomp-"


def try_hold(descriptor: int) -> bool:
    """Lock an open file or folder; False where another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: nothing on it is ever called abandoned
        return True
    return True


def create_held(
    parent: pathlib.Path, prefix: str, mode: int = 0o777
) -> tuple[pathlib.Path, int]:
    """Make and lock a folder; the lock ends when the descriptor is closed.

    Args:
        parent: where.
        prefix: of its name.
        mode: permissions, of which the process's mask is taken away.

    Raises:
        OSError: it cannot be made.
    """
    for attempt in range(_ATTEMPTS):
        folder = parent / f"{prefix}{os.getpid()}-{attempt}"
        try:
            folder.mkdir(mode)
        except FileExistsError:
            continue
        # Another process may clean it away before it is locked: then try again.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if try_hold(descriptor) and folder.exists():
                return folder, descriptor
            os.close(descriptor)
    raise OSError(f"no free name for a temporary folder in {parent}")


def remove_abandoned(parent: pathlib.Path, prefix: str, suffix: str = "") -> None:
    """Remove own folders and files with such names that no process holds any more."""
    try:
        paths = list(parent.iterdir())
    except OSError:
        return
    for path in paths:
        if path.name.startswith(prefix) and path.name.endswith(suffix):
            with contextlib.suppress(OSError):  # gone meanwhile, or not ours
                _remove_if_free(path)


@contextlib.contextmanager
def scratch_folder() -> Iterator[pathlib.Path]:
    """A new folder among the system's temporary files, removed at the end."""
    parent = pathlib.Path(tempfile.gettempdir())
    _clean_scratch(parent)
    folder, descriptor = create_held(parent, f"{_SCRATCH}{os.getuid()}-", 0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@functools.cache
def _clean_scratch(parent: pathlib.Path) -> None:
    remove_abandoned(parent, f"{_SCRATCH}{os.getuid()}-")


def _remove_if_free(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if not _is_locked(descriptor):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Whether another process holds it, or locks cannot tell."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    return False
