"""Integer depthwise convolution, NHWC: bytes in, bytes (or float32) out, exact.

Channels lie in vector lanes, a full register of bytes per block; the sums of a few output
columns, and of two rows where that saves work, stay in registers.
"""

import math

from edgecomp.device.target import Target
from edgecomp.plan.finish import Requantize, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.schedules.cpu import depthwise, windows
from edgecomp.schedules.cpu.depthwise_dot import plan_rows, products_of
from edgecomp.schedules.cpu.depthwise_dot_loop import loop_for
from edgecomp.schedules.cpu.depthwise_int8_kernel import Int8Kernel, Params
from edgecomp.schedules.cpu.epilogue import refuse_epilogue
from edgecomp.schedules.cpu.progress import band_progress
from edgecomp.schedules.cpu.walk_candidates import walk_candidates, walk_of, walk_text
from edgecomp.schedules.cpu.windows import Walk, Window
from edgecomp.schedules.params import ParamsError, read_params, require_none
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "depthwise_int8_nhwc"

#: Output columns of a tile.
_MAXIMUM_COLUMNS = 8
#: Part of the L1 cache that the data of a channel group may take.
_L1_SHARE = 0.75
#: Taps whose code is still unrolled.
_MAXIMUM_TAPS = 2048
#: Instructions of the epilogue per vector of sums.
_FINISH_COST = 4


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim 8-bit convolutions with one output per channel."""
    reason = depthwise.refusal(operation)
    if reason:
        return reason
    kind, (x, weight, _, *residual) = operation.kind, operation.inputs
    assert isinstance(kind, Convolution)
    if x.dtype not in ("uint8", "int8") or weight.dtype != "int8" or kind.finish is None:
        return f"{x.dtype} by {weight.dtype}"
    if not isinstance(kind.finish, Requantize | Scale):
        return "accumulators are wanted, or scales known at run time"
    if weight.shape[0] != x.shape[1]:
        return f"{weight.shape[0] // x.shape[1]} outputs per channel"
    if math.prod(weight.shape[2:]) > _MAXIMUM_TAPS:
        return f"{math.prod(weight.shape[2:])} taps"
    if weight.constant is not None and int(weight.constant.min()) < -127:
        return "weights below -127"
    return refuse_epilogue(
        kind.finish,
        kind.activation,
        kind.integer_add,
        operation.output,
        residual[0] if residual else None,
    )


def params_for(target: Target, operation: Operation, *, pairs: bool = True) -> Params:
    """Choose the tile by instructions per output, within the registers.

    Args:
        target: the device.
        operation: a claimed one.
        pairs: whether a tile may have two rows.
    """
    ranked = _tiles(target, operation)
    if not pairs:
        ranked = [(cost, params) for cost, params in ranked if params.height == 1]
    return min(ranked, key=lambda ranked: ranked[0])[1]


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles of one and of two rows, and channel groups, to measure."""
    if match(operation, target):
        return []
    ranked = sorted(_tiles(target, operation), key=lambda ranked: ranked[0])
    return [
        f"height={params.height} {walk_text(walk)}"
        for _, params in ranked
        for walk in walk_candidates(params.walk, operation, 1)
    ]


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    require_none(match(operation, target))
    name, _, rest = params.partition(" ")
    height = read_params(name, ("height",))["height"]
    for _, own in _tiles(target, operation):
        if own.height == height:
            walk = walk_of(rest, own.walk, operation, 1)
            return emit_with(operation, target, Params(height=height, walk=walk))
    raise ParamsError(f"no tiles of {height} rows")


def _tiles(target: Target, operation: Operation) -> list[tuple[float, Params]]:
    """The tile of each height with its modelled instructions per output.

    Where there is a loop, only tiles that have it.
    """
    products, window = products_of(target), depthwise.window_of(operation)
    output = operation.output
    found, looped = [], []
    for height in (1, 2):
        if output.shape[2] % height:
            continue
        loop = loop_for(operation, target, height)
        if loop:
            walk = _walk(target, operation, loop.columns)
            cost = loop.cost(loop.columns) + _FINISH_COST * products.sums(products.lanes)
            looped.append((cost, Params(height=height, walk=walk)))
            continue
        plan = plan_rows(window, height, products.group)
        sums = products.sums(products.lanes)
        room = target.core.vector_registers - products.held - 2
        columns = max(1, min(_MAXIMUM_COLUMNS, room // (sums * height), output.shape[3]))
        if products.ahead:
            registers = target.core.vector_registers
            columns = _columns_within(
                registers, columns, window, sums * height, products.ahead
            )
        shared = len(window.users(columns)) * len(plan.groups) * products.interleave_cost
        own = len(plan.uses) * window.size[1] * products.use_cost
        cost = (shared / columns + own) / height + _FINISH_COST * sums
        walk = _walk(target, operation, columns)
        found.append((cost, Params(height=height, walk=walk)))
    return looped or found


def _walk(target: Target, operation: Operation, columns: int) -> Walk:
    """Channel groups whose data stay in the level-1 cache."""
    products, window = products_of(target), depthwise.window_of(operation)
    rows, taps = window.size
    channel_bytes = 2 * rows * taps + 8 + rows * window.span(columns)
    most = _L1_SHARE * target.core.l1_data_bytes / channel_bytes
    return Walk(
        lanes=products.lanes,
        vectors=1,
        blocks=windows.even_blocks(operation.output.shape[1], products.lanes, most),
        columns=columns,
        least_lanes=products.least_lanes,
    )


def _columns_within(
    registers: int, most: int, window: Window, sums: int, operands: int
) -> int:
    """Output columns whose sums and operands fit: at most ``most``, at least 1.

    Args:
        registers: that there are.
        most: columns.
        window: of the convolution.
        sums: vectors per column.
        operands: per input column.
    """
    fitting = (
        columns
        for columns in range(most, 1, -1)
        if columns * sums + window.span(columns) * operands <= registers
    )
    return next(fitting, 1)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is one or two output rows of a channel group."""
    return emit_with(operation, target, params_for(target, operation))


def emit_with(operation: Operation, target: Target, params: Params) -> list[KernelCall]:
    """``emit`` with given parameters."""
    x, weight, bias, *residual = operation.inputs
    emitter = Int8Kernel(operation, target, params)
    kernel, items = emitter.build(NAME)
    constants = (
        Constant(f"{weight.name}.packed", emitter.weights.data),
        Constant(f"{bias.name}.packed", emitter.bias.data),
        Constant(f"{weight.name}.multiplier", emitter.multiplier.data),
    )
    return [
        KernelCall(
            kernel=kernel,
            arguments=(x, *constants, *residual, operation.output),
            work_items=items,
            multiply_adds=operation.output.elements * math.prod(weight.shape[2:]),
            progress=band_progress(operation, items, emitter.bands, params.height),
        )
    ]
