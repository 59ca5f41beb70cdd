"""Python files of the user are run without leaving anything beside them."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without_byte_code() -> Iterator[None]:
    """While the block runs, imports write no ``__pycache__``."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
