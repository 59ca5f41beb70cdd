"""Dense and grouped 2-D convolution of NHWC images as an implicit matrix product."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.values import Array, Halo, Order, Value
from edgecomp.schedules.cpu.dense import dense_candidates, emit_dense, refuse_dense
from edgecomp.schedules.cpu.product import Product, RowDimension, RunDimension
from edgecomp.schedules.cpu.progress import product_progress
from edgecomp.schedules.params import require_none
from edgecomp.schedules.schedule import KernelCall

NAME = "convolution_nhwc"


def match(operation: Operation, target: Target) -> str:
    """Claim convolutions with several channels per group."""
    kind = operation.kind
    if not isinstance(kind, Convolution):
        return "not a convolution"
    x, weight = operation.inputs[:2]
    if x.order is not Order.NHWC or operation.output.order is not Order.NHWC:
        return "x or output is not NHWC"
    if weight.constant is None or weight.constant.ndim != 4:
        return "weight is not a constant [M, C/groups, KH, KW]"
    if kind.residual and operation.inputs[-1].order is not Order.NHWC:
        return "residual is not NHWC"
    need = halo_needed(kind, x, operation.output, weight)
    if need.union(x.halo) != x.halo:
        return f"x has {x.halo}, the window reaches {need}"
    return refuse_dense(kind, operation, target)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return emit_candidate(operation, target, "")


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles to measure; none where every channel is a group of its own."""
    kind = operation.kind
    if match(operation, target):
        return []
    assert isinstance(kind, Convolution)
    if kind.groups > 1 and operation.inputs[1].shape[1] == 1:
        return []
    weight = channels_last(operation)
    return dense_candidates(kind, product(operation), operation, target, weight)


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    kind = operation.kind
    require_none(match(operation, target))
    assert isinstance(kind, Convolution)
    weight = channels_last(operation)
    addresses = product(operation)
    return [
        emit_dense(
            "convolution",
            kind,
            addresses,
            operation,
            target,
            weight,
            lambda ends: product_progress(operation, ends),
            params,
        )
    ]


def channels_last(operation: Operation) -> Array:
    """The weight as [M, KH * KW * C/groups]."""
    weight = operation.inputs[1].constant
    assert weight is not None
    return weight.transpose(0, 2, 3, 1).reshape(weight.shape[0], -1)


def halo_needed(kind: Convolution, x: Value, output: Value, weight: Value) -> Halo:
    """Rows and columns around x that the windows of all outputs touch."""
    reach = [
        (out - 1) * stride + (window - 1) * dilation + 1 - size
        for out, stride, window, dilation, size in zip(
            output.shape[2:],
            kind.strides,
            weight.shape[2:],
            kind.dilations,
            x.shape[2:],
            strict=True,
        )
    ]  # elements that the last window reaches beyond the image, plus the leading pad
    top, left = kind.pads[:2]
    return Halo(top, left, max(0, reach[0] - top), max(0, reach[1] - left))


def product(operation: Operation) -> Product:
    """Addresses of the convolution as a matrix product."""
    kind = operation.kind
    assert isinstance(kind, Convolution)
    x, weight = operation.inputs[:2]
    residual = operation.inputs[-1].view if kind.residual else None
    view, output = x.view, operation.output.view
    batch, _, out_height, out_width = output.shape
    _, channels, window_height, window_width = weight.shape
    _, _, stride_h, stride_w = view.strides
    steps = (view.strides[0], stride_h * kind.strides[0], stride_w * kind.strides[1])
    rows = [
        RowDimension(size, step, output.strides[d], residual.strides[d] if residual else 0)
        for d, size, step in zip((0, 2, 3), (batch, out_height, out_width), steps, strict=True)
    ]
    return Product(
        rows=tuple(rows),
        depth=(
            RunDimension(window_height, stride_h * kind.dilations[0]),
            RunDimension(window_width, stride_w * kind.dilations[1]),
            RunDimension(channels, 1),
        ),
        columns=weight.shape[0] // kind.groups,
        groups=kind.groups,
        x_group_stride=channels,
        x_offset=view.offset - kind.pads[0] * stride_h - kind.pads[1] * stride_w,
        output_offset=output.offset,
        residual_offset=residual.offset if residual else 0,
        x_elements=view.elements,
        output_elements=output.elements,
        residual_elements=residual.elements if residual else 0,
    )
