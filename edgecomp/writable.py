"""Files that a user asked for, and that the system may refuse to write."""

import contextlib
import pathlib
from collections.abc import Iterator

from edgecomp.errors import Code, EdgecompError


@contextlib.contextmanager
def writable(path: pathlib.Path) -> Iterator[None]:
    """Turn the system's refusal to write into an error that names the file.

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
