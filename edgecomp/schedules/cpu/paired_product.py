"""float32 convolutions and products with pairs (paired_numbers.py), where modelled to be faster."""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.sizes import Size, largest
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.cpu import convolution, matrix_multiply
from edgecomp.schedules.cpu.arithmetic_f32 import dense_f32
from edgecomp.schedules.cpu.arithmetic_paired import (
    packing_cycles,
    paired_f32,
    refuse_pairs,
)
from edgecomp.schedules.cpu.dense import dynamic_rows, residual_of
from edgecomp.schedules.cpu.epilogue import float_epilogue
from edgecomp.schedules.cpu.implicit_gemm import gemm_shape
from edgecomp.schedules.cpu.packing import pack_weights, pad_columns
from edgecomp.schedules.cpu.paired_loop import LANES
from edgecomp.schedules.cpu.paired_numbers import (
    LEAST_DEPTH,
    PairedWeights,
    Pairing,
    pair_weights,
)
from edgecomp.schedules.cpu.paired_rows import row_stride
from edgecomp.schedules.cpu.paired_walk import DynamicPairedWalk, PairedPlan, PairedWalk
from edgecomp.schedules.cpu.product import Product, collapse_rows
from edgecomp.schedules.cpu.progress import product_progress
from edgecomp.schedules.cpu.reach import Reach
from edgecomp.schedules.cpu.tile_candidates import tile_candidates, tile_params, tile_text
from edgecomp.schedules.cpu.tiles import (
    CACHE_SHARE,
    ProductShape,
    TileParams,
    least_cycles,
    params_for,
    ranked_cuts,
)
from edgecomp.schedules.params import require_none
from edgecomp.schedules.repeated import emit_once
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "paired_product_f32"

#: A product is computed so if it takes at most this part of the time without: the model's error.
LEAST_GAIN = 0.95
#: The fewest rows, and where weights come from beyond the level-2 cache: there twelve products of
#: 384 and 1536 were 0.75 to 1.15 times as fast with pairs at 1 to 17 rows, 1.0 to 1.2 at 24 and 40 and
#: 1.15 to 1.3 at 128 and 512 (Zen 4, 2026-11-23).
LEAST_ROWS = 6
LEAST_STREAMED_ROWS = 16
#: The fewest vectors of a column block where the rows differ from run to run.
_LEAST_VECTORS = 2
#: Parts of a chunk's column blocks that threads may take, each of which packs its rows again.
_GRAINS = 4


def match(operation: Operation, target: Target) -> str:
    """Claim products that are faster so than one element after the other."""
    reason = refusal(operation, target)
    if not reason and paired_cycles(operation, target) > LEAST_GAIN * plain_cycles(
        operation, target
    ):
        return "single products are modelled to be faster"
    return reason


def refusal(operation: Operation, target: Target) -> str:
    """Return "" for products that the kernel computes, else why not."""
    reason, kind = refuse_pairs(target), operation.kind
    if reason:
        return reason
    if isinstance(kind, Convolution):
        reason = convolution.match(operation, target)
    else:
        reason = matrix_multiply.match(operation, target)
    if reason:
        return reason
    assert isinstance(kind, Convolution | MatrixMultiply)
    if operation.inputs[1].dtype != "float32":
        return f"weights of {operation.inputs[1].dtype}"
    if isinstance(kind, Convolution) and kind.groups != 1:
        return f"{kind.groups} groups"
    product = addresses(operation)
    rows, depth = largest(product.row_count), _depth(product)
    resident = 4 * depth * product.columns <= target.core.l2_bytes * CACHE_SHARE
    if rows < (LEAST_ROWS if resident else LEAST_STREAMED_ROWS):
        return f"{rows} rows: the weights' way from memory takes the time"
    return "" if depth >= LEAST_DEPTH else f"{depth} products in a sum"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return emit_candidate(operation, target, "")


def candidates(operation: Operation, target: Target) -> list[str]:
    """Tiles to measure."""
    if refusal(operation, target):
        return []
    shape, arithmetic = _shape(addresses(operation)), paired_f32(target)
    found = [
        tile_text(_whole_chunks(params))
        for params in tile_candidates(shape, arithmetic, target)
    ]
    return list(dict.fromkeys(found))


def emit_candidate(operation: Operation, target: Target, params: str) -> list[KernelCall]:
    """One kernel with given tiles."""
    require_none(refusal(operation, target))
    arithmetic, shape = paired_f32(target), _shape(addresses(operation))
    tiles = (
        tile_params(params, shape, arithmetic, target)
        if params
        else params_for(shape, arithmetic, target)
    )
    plan, call = _emit_call(operation, target, _whole_chunks(tiles), None)
    if not isinstance(operation.kind, Convolution):
        return [call]
    return [dataclasses.replace(call, progress=product_progress(operation, plan.row_ends))]


def emit_rows(operation: Operation, target: Target, row_count: Size) -> KernelCall:
    """The call of a matrix product of at most the operation's rows.

    Args:
        operation: at the most rows.
        target: the device.
        row_count: rows of a run.
    """
    arithmetic, shape = paired_f32(target), _shape(addresses(operation))
    cuts = ranked_cuts(shape, arithmetic, target)
    # A run of one row waits for its accumulators where there is one vector of them.
    wide = next((cut for _, cut in cuts if cut[2].large >= _LEAST_VECTORS), cuts[0][1])
    tiles = _whole_chunks(params_for(shape, arithmetic, target, wide))
    _, call = _emit_call(operation, target, tiles, row_count)
    return call


def _emit_call(
    operation: Operation, target: Target, tiles: TileParams, row_count: Size | None
) -> tuple[PairedPlan, KernelCall]:
    kind, product = operation.kind, addresses(operation)
    assert isinstance(kind, Convolution | MatrixMultiply)
    residual = residual_of(operation)
    paired = pair_weights(_matrix(operation), Pairing.of(_depth(product)))
    plan = PairedPlan(
        product,
        paired_f32(target),
        # The kernel is the same whatever the multipliers are.
        float_epilogue(kind.activation, residual, np.ones(1, np.float32)),
        target,
        tiles,
        Reach(0.0),
        row_count,
        has_factors=paired.factors is not None,
    )
    name = f"paired_product_float32_{plan.tile_name}"
    sizes: tuple[Size, ...] = ()
    if row_count is None:
        kernel = emit_once(_emit, plan, name)
    else:
        walk = DynamicPairedWalk(plan)
        kernel, sizes = walk.emit(name), walk.builder.sizes
    arguments: list[Value | Constant] = [
        operation.inputs[0],
        *_constants(operation, plan, paired),
    ]
    if residual is not None:
        arguments.append(residual)
    arguments.append(operation.output)
    dynamic = None
    if row_count is not None:
        dynamic = dynamic_rows(plan.items, sizes, tiles.rows.large, arguments)
    call = KernelCall(
        kernel=kernel,
        arguments=tuple(arguments),
        work_items=plan.work_items,
        grain_items=-(-plan.block_chunks // _GRAINS),
        workspace_bytes=4 * plan.workspace_elements,
        multiply_adds=product.multiply_adds,
        dynamic=dynamic,
    )
    return plan, call


def addresses(operation: Operation) -> Product:
    """Of a convolution or a matrix product."""
    if isinstance(operation.kind, Convolution):
        return convolution.product(operation)
    return matrix_multiply.product_of(operation)[0]


def _matrix(operation: Operation) -> Array:
    """The weights as [columns, K]."""
    if isinstance(operation.kind, Convolution):
        return convolution.channels_last(operation)
    return matrix_multiply.product_of(operation)[1]


def paired_cycles(operation: Operation, target: Target) -> float:
    """Modelled cycles with pairs, packing included."""
    shape, arithmetic = _shape(addresses(operation)), paired_f32(target)
    packing = packing_cycles(math.prod(shape.rows), shape.depth)
    return least_cycles(shape, arithmetic, target) + packing


def plain_cycles(operation: Operation, target: Target) -> float:
    """Modelled cycles of the product without pairs."""
    product = addresses(operation)
    arithmetic = dense_f32(target, product.columns)
    return least_cycles(gemm_shape(product, arithmetic, "float32"), arithmetic, target)


def _emit(plan: PairedPlan, name: str) -> Kernel:
    return PairedWalk(plan).emit(name)


def _depth(product: Product) -> int:
    return math.prod(dimension.size for dimension in product.depth)


def _shape(product: Product) -> ProductShape:
    """What the choice of tiles depends on: rows lie side by side in the workspace."""
    depth = _depth(product)
    return ProductShape(
        rows=tuple(d.size for d in collapse_rows(product.rows)),
        vectors=-(-product.columns // LANES),
        groups=1,
        depth=depth,
        row_bytes=4 * row_stride(depth),
        result_bytes=4 * product.columns,
    )


def _whole_chunks(params: TileParams) -> TileParams:
    """Parts of a chunk would pack its rows once for each column block; weights come in order."""
    return dataclasses.replace(params, part_tiles=params.chunk_tiles, prefetch_bytes=0)


def _constants(
    operation: Operation, plan: PairedPlan, paired: PairedWeights
) -> list[Constant]:
    """Weights, what the sums begin with and end with, multipliers."""
    bias, label = operation.inputs[2].constant, operation.inputs[1].name
    assert bias is not None
    columns, depth = paired.weights.shape
    padded = plan.vectors * plan.arithmetic.lanes
    added = np.broadcast_to(bias.reshape(-1), (columns,)) / paired.multiplier
    starts = [
        pad_columns(values[None].astype(np.float32), padded)
        for values in (paired.start, added)
    ]
    if paired.factors is not None:
        starts.append(paired.factors)
    ordered = paired.weights[:, plan.pairing.order].reshape(1, columns, 1, depth)
    return [
        Constant(
            f"{label}.pairs", pack_weights(ordered, plan.params.vectors, plan.arithmetic)
        ),
        Constant(f"{label}.starts", np.concatenate(starts)),
        Constant(f"{label}.multiplier", pad_columns(paired.multiplier[None], padded)),
    ]
