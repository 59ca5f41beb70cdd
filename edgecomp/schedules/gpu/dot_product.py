"""Convolutions and products of 8-bit integers on devices that multiply four of them at once."""

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.schedules.cpu.product import collapse_depth
from edgecomp.schedules.gpu.dot_kernel import WORD, emit_dot_product
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.products import emit_by, product_of, refusal
from edgecomp.schedules.schedule import KernelCall

NAME = "dot_product"

FEATURE = "int8_dot"
_LARGEST_SUM = 2**31 - 1


def match(operation: Operation, target: Target) -> str:
    """Claim what the GPU's schedules of the same kinds claim, of whole words of K."""
    reason = refusal(operation, target)
    if reason:
        return reason
    if FEATURE not in gpu_of(target).features:
        return f"the device has no {FEATURE}"
    dtypes = operation.inputs[0].dtype, operation.inputs[1].dtype
    if dtypes[0] not in ("uint8", "int8") or dtypes[1] != "int8":
        return f"a product of {dtypes[0]} and {dtypes[1]}"
    if not _sums_fit(operation):
        return "sums that could leave 32 bits, which some devices saturate"
    run = collapse_depth(product_of(operation).depth)[-1].size
    return "" if run >= WORD else f"only {run} neighbouring elements of K"


def _sums_fit(operation: Operation) -> bool:
    """Whether no part of a sum leaves int32: of x as it is, and of x + 128 behind another bias."""
    weight, bias = operation.inputs[1].constant, operation.inputs[2].constant
    assert weight is not None
    assert bias is not None
    columns = 0 if isinstance(operation.kind, Convolution) else 1
    others = tuple(axis for axis in range(weight.ndim) if axis != columns)
    magnitudes = np.abs(weight.astype(np.int64)).sum(axis=others)
    most = np.abs(bias.reshape(-1).astype(np.int64)) + 255 * magnitudes
    return bool(most.max(initial=0) <= _LARGEST_SUM)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return emit_by(emit_dot_product, operation, target)
