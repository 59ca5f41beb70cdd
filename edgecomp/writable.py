"""Files and folders that a user asked for, and that the system may refuse to write."""

import contextlib
import errno
import os
import pathlib
import tempfile
from collections.abc import Iterator

from edgecomp.errors import Code, EdgecompError


@contextlib.contextmanager
def writable(path: pathlib.Path) -> Iterator[None]:
    """Turn the system's refusal to write into an error that names the file or folder.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE.
    """
    try:
        yield
    except OSError as error:
        raise EdgecompError(
            Code.OUTPUT_UNWRITABLE,
            f"cannot be written: {error.strerror or error}",
            path=str(path),
        ) from error


def require_writable_file(path: pathlib.Path) -> None:
    """Refuse a file that cannot be written, before any work is done; the place stays as it is.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE.
    """
    with writable(path):
        if path.is_dir():
            raise _system_error(errno.EISDIR)
        if not path.exists() or path.is_file():
            try_to_create(pathlib.Path(os.path.realpath(path)))
        elif not os.access(path, os.W_OK):  # /dev/stdout is written as it is
            raise _system_error(errno.EACCES)


def require_writable_folder(path: pathlib.Path) -> None:
    """The same of a folder that gets files: it may be there, or is made.

    Raises:
        EdgecompError: OUTPUT_UNWRITABLE.
    """
    with writable(path):
        try_to_create(pathlib.Path(os.path.realpath(path)) / "file")


def try_to_create(path: pathlib.Path) -> None:
    """Make and remove a file where ``path`` would be; folders that are not there are not made.

    Permissions alone do not say it: root may write everywhere, but not on every file system.

    Raises:
        OSError: the system refuses.
    """
    missing, folder = [path.name], path.parent
    while not os.path.lexists(folder):
        missing.append(folder.name)
        folder = folder.parent
    # Without a name, where the file system can do that.
    with tempfile.TemporaryFile(dir=folder):
        pass
    for name in missing:  # one may be too long
        with contextlib.suppress(FileNotFoundError):
            (folder / name).lstat()


def _system_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
