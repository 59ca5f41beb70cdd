"""Imports onnx_ir without sympy, which it needs for arithmetic on free dimensions alone.

Sympy takes half a second, more than all else that a small build imports. The packages that walk
models import this module before they import onnx_ir. What onnx_ir holds then in sympy's place
imports it at first use; programs that import sympy themselves see nothing of it.
"""

import functools
import importlib
import sys
import types
from typing import Any


class _Sympy(types.ModuleType):
    """Stands for sympy inside of onnx_ir.

    Attributes:
        waits: while onnx_ir is imported: it then only stores functions.
    """

    waits = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return functools.partial(_call, name) if self.waits else getattr(_sympy(), name)


def _sympy() -> types.ModuleType:
    return importlib.import_module("sympy")


def _call(name: str, *arguments: Any, **named: Any) -> Any:
    return getattr(_sympy(), name)(*arguments, **named)


def _import_onnx_ir() -> None:
    if "onnx_ir" in sys.modules or "sympy" in sys.modules:
        return
    stand_in = sys.modules["sympy"] = _Sympy("sympy")
    try:
        import onnx_ir  # noqa: F401
    finally:
        del sys.modules["sympy"]
        stand_in.waits = False


_import_onnx_ir()
