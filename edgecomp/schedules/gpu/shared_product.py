"""Float convolutions and products whose tiles go through local memory, where that is fast."""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.schedules.gpu.halves import HALVES, multiplies_in_half
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.products import emit_by, product_of, refusal
from edgecomp.schedules.gpu.shared_kernel import choose_shared_tile, emit_shared_product
from edgecomp.schedules.schedule import KernelCall

NAME = "shared_product"


def match(operation: Operation, target: Target) -> str:
    """Claim what the GPU's schedules of the same kinds claim, where there is enough of it."""
    reason = refusal(operation, target)
    if reason:
        return reason
    gpu, dtypes = gpu_of(target), (operation.inputs[0].stored, operation.inputs[1].dtype)
    if not {"float32", *HALVES}.issuperset(dtypes):
        return f"a product of {dtypes[0]} and {dtypes[1]}"
    is_half = multiplies_in_half(gpu, *dtypes)
    if choose_shared_tile(product_of(operation), gpu, is_half=is_half) is None:
        return "tiles of local memory are no gain"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return emit_by(emit_shared_product, operation, target)
