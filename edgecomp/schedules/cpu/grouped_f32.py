"""float32 convolution of small groups, NHWC: as many outputs as inputs in each group.

Several groups lie side by side in one vector of channels. Where lane i of a group meets input
i ^ n, the sum over all n of

    exchanged(x, n) * exchanged_weights[n]

is all of the group's products, in whole vectors. It is a depthwise convolution with as many times
the taps as a group has channels, whose inputs change places once for all the taps that they meet.
Groups as wide as a vector, and others, are matrix products (convolution.py).
"""

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.values import Order
from edgecomp.schedules.cpu import depthwise, windows
from edgecomp.schedules.cpu.depthwise_f32 import emit_named
from edgecomp.schedules.cpu.epilogue import refuse_epilogue
from edgecomp.schedules.cpu.walk_candidates import walk_candidates, walk_of, walk_text
from edgecomp.schedules.cpu.weight_codes import weight_code
from edgecomp.schedules.cpu.windows import Walk
from edgecomp.schedules.params import require_none
from edgecomp.schedules.schedule import KernelCall

NAME = "grouped_f32_nhwc"

#: Vectors of a channel block: two share nothing, and their weights are many.
_VECTORS = 1
#: Output columns of a tile: as many sums as two multiplies in each of four cycles need.
_MAXIMUM_COLUMNS = 8
#: Registers beside the sums: x, x exchanged, and weights on their way.
_OTHER_REGISTERS = 4
#: Part of the L1 cache that the data of channels may take that go through an image together.
_L1_SHARE = 0.75


def match(operation: Operation, target: Target) -> str:
    """Claim float32 convolutions whose groups are parts of a vector."""
    kind = operation.kind
    if not isinstance(kind, Convolution):
        return "not a convolution"
    x, weight, bias, *residual = operation.inputs
    if any(v.order is not Order.NHWC for v in (x, *residual, operation.output)):
        return "not NHWC"
    if weight.constant is None or weight.constant.ndim != 4 or bias.constant is None:
        return "weights are not constant"
    widens = weight.dtype == "float32" or weight_code(weight.dtype) is not None
    if x.dtype != "float32" or not widens or kind.finish is not None:
        return "not float32"
    if kind.groups == 1:
        return "one group"
    size, lanes = weight.shape[1], target.lanes(32)
    if weight.shape[0] != x.shape[1] or not 2 <= size < lanes or lanes % size:
        return f"groups of {size} inputs and {weight.shape[0] // kind.groups} outputs"
    reason = depthwise.window_of(operation).refusal(x, operation.output)
    return reason or refuse_epilogue(
        None, kind.activation, None, operation.output, residual[0] if residual else None
    )


def params_for(target: Target, operation: Operation) -> Walk:
    """Choose the tile from registers and the L1 cache."""
    x, weight = operation.inputs[:2]
    window, lanes = depthwise.window_of(operation), target.lanes(32)
    columns = min(_MAXIMUM_COLUMNS, target.core.vector_registers - _OTHER_REGISTERS)
    columns = min(columns, operation.output.shape[3])
    rows, taps = window.size
    channel_bytes = 4 * (rows * taps * weight.shape[1] + 1 + rows * window.span(columns))
    channels = _L1_SHARE * target.core.l1_data_bytes / channel_bytes
    return Walk(
        lanes=lanes,
        vectors=_VECTORS,
        blocks=windows.even_blocks(x.shape[1], lanes * _VECTORS, channels),
        columns=columns,
        least_lanes=weight.shape[1],
    )


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is an output row of some channels."""
    return emit_named(NAME, operation, target, params_for(target, operation))


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles and channels to measure."""
    if match(operation, target):
        return []
    own = params_for(target, operation)
    return [walk_text(walk) for walk in walk_candidates(own, operation, _VECTORS)]


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    require_none(match(operation, target))
    own = params_for(target, operation)
    walk = walk_of(params, own, operation, _VECTORS)
    return emit_named(NAME, operation, target, walk)
