"""Attention as one kernel: scores, softmax and the product with the values of a tile of rows.

    scores:  each work item has some keys, and the tile's rows of q for all of them
    softmax: as many work items for each row as there are, over local memory
    output:  each work item has four columns of v, and a share of the keys; the shares are joined

Scores never leave local memory; q, k, v and the result are read and written where they lie, so
that nothing is transposed.
"""

from edgecomp.device.target import Target
from edgecomp.plan.attention import Attention
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.schedules.gpu.attention_kernel import AttentionKernel, choose_tile
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.schedule import KernelCall

NAME = "attention"


def match(operation: Operation, target: Target) -> str:
    """Claim what lies in order, and whose scores fit into local memory."""
    kind = operation.kind
    if not isinstance(kind, Attention):
        return "not an attention"
    if any(view.strides[-1] != 1 for view in (kind.q, kind.k, kind.v, kind.y)):
        return "elements of K or of columns are not side by side"
    rows, keys = kind.q.shape[-2], kind.k.shape[-2]
    batch = operation.output.elements // (rows * kind.v.shape[-1])
    if choose_tile(batch, rows, keys, gpu_of(target)) is None:
        return f"scores of {keys} keys are more than local memory holds"
    return ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    kind = operation.kind
    assert isinstance(kind, Attention)
    kernel = AttentionKernel(operation, target)
    kernel.emit()
    depth = kind.q.shape[-1] + kind.v.shape[-1]
    rows = operation.output.elements // kind.v.shape[-1]
    work = largest(rows * kind.k.shape[-2] * depth)
    return [kernel.builder.call(NAME, (*kernel.inputs, operation.output), work)]
