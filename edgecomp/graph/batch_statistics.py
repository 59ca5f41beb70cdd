"""What training knew of a value: mean and deviation per channel, from its BatchNormalization.

Kept at the value, in the process and in no file; it is about the value's own numbers, so that a
pass which changes these (another scale, other channels) leaves it stale. Readers check the count
of channels, and use it for estimates only.
"""

import onnx_ir as ir

from edgecomp.graph.constants import AnyArray

_KEY = "edgecomp.batch_statistics"


def set_batch_statistics(value: ir.Value, mean: AnyArray, deviation: AnyArray) -> None:
    """Note mean and deviation of every channel."""
    value.meta[_KEY] = (mean, deviation)


def batch_statistics(value: ir.Value) -> tuple[AnyArray, AnyArray] | None:
    """Mean and deviation of every channel, None where nothing was noted."""
    known: tuple[AnyArray, AnyArray] | None = value.meta.get(_KEY)
    shape = value.shape
    if known is None or shape is None or len(shape) < 2 or shape[1] != len(known[0]):
        return None
    return known
