"""float32 depthwise convolution, NHWC, with one or more outputs per input channel.

Channels lie in vector lanes. A tile is a few neighbouring output columns of one channel block:
each input vector is loaded once per kernel row and feeds every tap that meets it.

Weights of a narrower type become float32 when the bundle is built: a channel has few of them,
which wait in registers while its image passes.
"""

import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.schedules.cpu import depthwise, windows
from edgecomp.schedules.cpu.depthwise_f32_kernel import FloatKernel
from edgecomp.schedules.cpu.depthwise_loop import loop_for
from edgecomp.schedules.cpu.epilogue import refuse_epilogue
from edgecomp.schedules.cpu.progress import band_progress
from edgecomp.schedules.cpu.walk_candidates import (
    MOST_VECTORS,
    walk_candidates,
    walk_of,
    walk_text,
)
from edgecomp.schedules.cpu.weight_codes import weight_code
from edgecomp.schedules.cpu.windows import Walk
from edgecomp.schedules.params import require_none
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "depthwise_f32_nhwc"

#: Output columns of a tile: more save few loads and cost code.
_MAXIMUM_COLUMNS = 8
_MAXIMUM_COLUMNS_ARM = 7
#: Fewer columns than this are better served by one vector per block.
_ENOUGH_COLUMNS = 7
#: Part of the L1 cache that the data of a channel group may take.
_L1_SHARE = 0.75


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim float32 convolutions whose groups are the input channels."""
    reason = depthwise.refusal(operation)
    if reason:
        return reason
    kind, (x, weight, _, *residual) = operation.kind, operation.inputs
    assert isinstance(kind, Convolution)
    widens = weight.dtype == "float32" or weight_code(weight.dtype) is not None
    if x.dtype != "float32" or not widens or kind.finish is not None:
        return "not float32"
    return refuse_epilogue(
        None, kind.activation, None, operation.output, residual[0] if residual else None
    )


def params_for(target: Target, operation: Operation, *, loops: bool = True) -> Walk:
    """Choose the tile from registers and the L1 cache.

    A channel group is what fits the L1 cache together: its weights and the input rows of a
    tile.

    Args:
        target: the device.
        operation: a claimed one.
        loops: whether the kernel may have a loop of its own (depthwise_loop.py).
    """
    x, weight = operation.inputs[:2]
    window = depthwise.window_of(operation)
    multiplier = weight.shape[0] // x.shape[1]
    lanes = target.lanes(32)
    loop = loop_for(operation, target) if loops else None
    if loop:
        vectors, columns = loop.vectors, loop.columns
    else:
        vectors, columns = _register_tile(target, window, multiplier)
    if x.shape[1] <= lanes:
        vectors = 1
    columns = max(1, min(columns, operation.output.shape[3]))
    rows, taps = window.size
    channel_bytes = 4 * (multiplier * (rows * taps + 1) + rows * window.span(columns))
    channels = _L1_SHARE * target.core.l1_data_bytes / channel_bytes
    return Walk(
        lanes=lanes,
        vectors=vectors,
        blocks=windows.even_blocks(x.shape[1], lanes * vectors, channels),
        columns=columns,
    )


def _register_tile(target: Target, window: windows.Window, multiplier: int) -> tuple[int, int]:
    """Vectors per block and output columns: how many sums stay in registers.

    x86 multiplies by operands in memory: beside the sums it needs the taps of one kernel row
    and an input vector. ARM needs registers for input vectors on their way too, more of them
    at greater strides. In-order cores do best with many columns of one vector, whose
    multiplications do not wait for each other.
    """
    registers = target.core.vector_registers
    if target.core.isa != "x86_64":
        vectors = 2 if registers > 16 and not target.core.in_order else 1
        room = (registers - 6) // ((1 + window.strides[1]) * vectors * multiplier)
        return vectors, min(room, _MAXIMUM_COLUMNS_ARM)
    room_of = {v: (registers - v - 1) // (v * multiplier) - window.size[1] for v in (1, 2)}
    vectors = 2 if room_of[2] >= _ENOUGH_COLUMNS else 1
    return vectors, min(max(room_of[vectors], 2), _MAXIMUM_COLUMNS)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is an output row of a channel group."""
    return emit_with(operation, target, params_for(target, operation))


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles and channel groups to measure."""
    if match(operation, target):
        return []
    own = params_for(target, operation)
    return [walk_text(walk) for walk in walk_candidates(own, operation, MOST_VECTORS)]


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    require_none(match(operation, target))
    own = params_for(target, operation)
    return emit_with(operation, target, walk_of(params, own, operation, MOST_VECTORS))


def emit_with(operation: Operation, target: Target, walk: Walk) -> list[KernelCall]:
    """``emit`` with given parameters."""
    return emit_named(NAME, operation, target, walk)


def emit_named(
    name: str, operation: Operation, target: Target, walk: Walk
) -> list[KernelCall]:
    """The same under a name; also of convolutions whose groups are parts of a vector."""
    x, weight, _, *residual = operation.inputs
    emitter = FloatKernel(operation, target, walk)
    kernel, items = emitter.build(name)
    packed = Constant(f"{weight.name}.packed", emitter.packing.data)
    return [
        KernelCall(
            kernel=kernel,
            arguments=(x, packed, *residual, operation.output),
            work_items=items,
            multiply_adds=operation.output.elements * math.prod(weight.shape[1:]),
            progress=band_progress(operation, items, emitter.bands, 1),
        )
    ]
