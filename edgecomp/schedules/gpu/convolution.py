"""Dense and grouped 2-D convolution of NHWC images."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.schedules.cpu import convolution as cpu
from edgecomp.schedules.gpu.dense import emit_dense, refuse_product
from edgecomp.schedules.schedule import KernelCall

NAME = "convolution"


def match(operation: Operation, target: Target) -> str:
    """Claim convolutions whose groups have several channels."""
    kind = operation.kind
    reason = cpu.match(operation, target)
    if reason or not isinstance(kind, Convolution):
        return reason
    return refuse_product(kind, operation)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind = operation.kind
    assert isinstance(kind, Convolution)
    weight = cpu.channels_last(operation)
    product = cpu.product(operation)
    return [emit_dense("convolution", kind, product, operation, target, weight)]
