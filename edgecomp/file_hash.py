"""The hash that a file is known by."""

import hashlib
import pathlib


def file_sha256(path: pathlib.Path) -> str:
    """SHA-256 of a file's contents, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
