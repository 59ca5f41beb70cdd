"""Kernels of layers that repeat: most networks have several layers of one shape."""

import hashlib
import io
import pickle
from collections.abc import Callable
from typing import Any

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Kernel

#: Kernels that are remembered, a few hundred kilobytes each.
_MOST = 128

_known: dict[bytes, Kernel] = {}


def emit_once(emit: Callable[..., Kernel], *parts: Any) -> Kernel:
    """``emit(*parts)``, remembered: the kernel has to depend on the parts' contents alone.

    Args:
        emit: a function of a module.
        parts: dataclasses, numbers, texts, arrays; others are emitted each time.
    """
    stream = io.BytesIO()
    try:
        _PartsPickler(stream).dump((emit, parts))
    except (_OwnExpressionError, pickle.PicklingError, AttributeError):
        return emit(*parts)
    key = hashlib.sha256(stream.getbuffer()).digest()
    kernel = _known.get(key)
    if kernel is None:
        if len(_known) == _MOST:
            _known.clear()
        kernel = _known[key] = emit(*parts)
    return kernel


class _OwnExpressionError(Exception):
    """A part holds a variable, which is another one in each kernel."""


class _PartsPickler(pickle.Pickler):
    def reducer_override(self, value: object) -> Any:
        if isinstance(value, tirx.Node):
            raise _OwnExpressionError
        return NotImplemented
