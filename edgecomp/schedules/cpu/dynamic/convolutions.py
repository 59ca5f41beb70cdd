"""Dense and grouped convolution of images whose height and width are known when the model runs.

Pixels that lie without a gap in every tensor are rows of a matrix product, where nothing else about
it depends on the size; else a tile stays within a row of pixels.
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.sizes import Size, greatest, has_dynamic, is_dynamic
from edgecomp.plan.values import Halo, Order
from edgecomp.schedules.cpu import convolution
from edgecomp.schedules.cpu.dense import emit_dense
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cpu.product import collapse_rows
from edgecomp.schedules.schedule import KernelCall

NAME = convolution.NAME


def match(operation: Operation, target: Target) -> str:
    """Claim convolutions of images of static channels."""
    kind = operation.kind
    if not isinstance(kind, Convolution):
        return "not a convolution"
    values = [v for v in (*operation.inputs, operation.output) if v.constant is None]
    if any(v.order is not Order.NHWC or is_dynamic(v.shape[1]) for v in values if v.shape):
        return "channels of dynamic number"
    if has_dynamic((*kind.strides, *kind.dilations, *kind.pads)):
        return "a window that depends on the size"
    reason = convolution.match(Twin(operation).operation, target)
    if reason:
        return reason
    x, weight = operation.inputs[:2]
    reach = [
        greatest((out - 1) * stride + (window - 1) * dilation + 1 - size - pad)
        for out, stride, window, dilation, size, pad in zip(
            operation.output.shape[2:],
            kind.strides,
            weight.shape[2:],
            kind.dilations,
            x.shape[2:],
            kind.pads[:2],
            strict=True,
        )
    ]
    need = Halo(*kind.pads[:2], max(0, reach[0]), max(0, reach[1]))
    if need.union(x.halo) != x.halo:
        return f"x has {x.halo}, the window reaches {need}"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel, with the tiles of the largest sizes."""
    twin = Twin(operation)
    kind = twin.operation.kind
    assert isinstance(kind, Convolution)
    product = convolution.product(operation)
    rows = collapse_rows(product.rows)
    merged = len(rows) == 1 and isinstance(rows[0].size, Size) and product.has_fixed_steps
    call = emit_dense(
        "convolution",
        kind,
        convolution.product(twin.operation),
        twin.operation,
        target,
        convolution.channels_last(operation),
        row_count=product.row_count,
        image=None if merged else product,
    )
    assert call.dynamic is not None
    return [twin.restore(call, call.dynamic)]
