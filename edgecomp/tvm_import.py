"""Import TVM without the packages that it only looks for."""

import sys


def import_tvm() -> None:
    """Import TVM; torch comes with it only where the program has loaded torch already.

    ``tvm_ffi`` imports torch where it is installed, so that it can take its tensors: two
    seconds of every build that nothing here uses. A program may still import torch later.
    """
    if "tvm" in sys.modules or "tvm_ffi" in sys.modules or "torch" in sys.modules:
        return
    # None makes `import torch` raise ImportError.
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        import tvm  # noqa: F401
    finally:
        del sys.modules["torch"]
