"""Python files of the user are run without leaving anything beside them."""

import contextlib
import importlib.util
import pathlib
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def without_byte_code() -> Iterator[None]:
    """While the block runs, imports write no ``__pycache__``."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


def import_file(path: pathlib.Path, name: str) -> Any:
    """Run a file as the module of a name, and return it; what the file raises is raised."""
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None  # it is for every name that ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes of the file look themselves up there
    folder = str(path.parent.resolve())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # the file may import its neighbours, later too
    with without_byte_code():
        spec.loader.exec_module(module)
    return module
