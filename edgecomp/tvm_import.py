"""Imports TVM, without the packages that it only looks for.

Every module that imports TVM imports this one before. None of them is imported before TVM is
needed: that takes a second and a half, and a build whose kernels are all known needs none of it.

``tvm_ffi`` imports torch where it is installed, so that it can take its tensors: two seconds of
every build that nothing here uses. It comes with TVM only where the program has loaded torch
already; a program may still import it later.
"""

import sys


def _import_tvm() -> None:
    if "tvm" in sys.modules or "tvm_ffi" in sys.modules or "torch" in sys.modules:
        return
    # None makes `import torch` raise ImportError.
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tvm  # noqa: F401
    finally:
        del sys.modules["torch"]


_import_tvm()
