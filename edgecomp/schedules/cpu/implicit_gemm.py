"""One kernel for every dense product: convolutions, grouped ones, and matrix products.

A convolution is a product whose rows are output pixels and whose K runs over the window: for
each row a few runs of contiguous elements of x (channels last). Only addresses differ from a
plain matrix product, so nothing is copied ("implicit GEMM"). The loops, outermost first:

    work item = chunk of row tiles, group, chunk of column blocks
      column block: its panel of weights is read once per tile, from a cache
        row tile: rows x vectors accumulators in registers
          run, K
        epilogue, stores
"""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.sizes import Dimension, Size, largest
from edgecomp.plan.values import Array
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.gemm_dynamic import DynamicGemmWalk
from edgecomp.schedules.cpu.gemm_image import ImageGemmWalk
from edgecomp.schedules.cpu.gemm_plan import GemmPlan, reach_of_sums
from edgecomp.schedules.cpu.gemm_walk import GemmWalk
from edgecomp.schedules.cpu.packing import pack_weights, pad_columns
from edgecomp.schedules.cpu.product import Product, collapse_depth, collapse_rows
from edgecomp.schedules.cpu.reach import start_of
from edgecomp.schedules.cpu.tiles import ProductShape, TileParams, params_for
from edgecomp.schedules.repeated import emit_once


@dataclasses.dataclass(frozen=True)
class GemmKernel:
    """An emitted kernel and the packing that it reads.

    Its pointers are x, weights, bias, then the multipliers, what a scale known at run time needs
    (sums, offset, zero point, scale) and the residual where the epilogue has them, then the
    output.

    Attributes:
        kernel: the function.
        work_items: of it.
        row_ends: (work items, rows of the product that they compute, from the first on).
        items: work items of a run.
        sizes: that it reads.
        tile_rows: rows that the last tile may go on behind the last one.
        weights, bias, multiplier, sums, offset: packed.
    """

    kernel: Kernel
    work_items: int
    row_ends: tuple[tuple[int, int], ...]
    items: Dimension
    sizes: tuple[Size, ...]
    tile_rows: int
    weights: Array
    bias: Array
    multiplier: Array | None
    sums: Array | None = None
    offset: Array | None = None


def emit_product(
    name: str,
    product: Product,
    arithmetic: Arithmetic,
    epilogue: Epilogue,
    target: Target,
    weights: Array,
    bias: Array,
    params: TileParams | None = None,
    row_count: Size | None = None,
    image: Product | None = None,
) -> GemmKernel:
    """Choose tiles, emit the kernel, pack its constants.

    Args:
        name: of the kernel's kind, for its symbol.
        product: addresses.
        arithmetic: of the inner step.
        epilogue: of the results.
        target: the device.
        weights: [groups * columns, *depth].
        bias: [groups * columns].
        params: tiles to use, those of the cost model where None.
        row_count: rows of a run, where they differ; the product then has one dimension of them,
            the most. The kernel may compute up to a tile more.
        image: addresses where they differ as well: rows are (image, row, column), and none is
            computed that the run has not.
    """
    shape = gemm_shape(product, arithmetic, epilogue.output_dtype)
    if image is not None:
        shape = dataclasses.replace(shape, rows=(math.prod(shape.rows),))
    params = params or params_for(shape, arithmetic, target)
    reach = reach_of_sums(arithmetic, epilogue, target, weights, bias)
    plan = GemmPlan(product, arithmetic, epilogue, target, params, reach, row_count, image)
    padded = plan.vectors * arithmetic.lanes
    symbol_name = f"{name}_{plan.tile_name}__{arithmetic.name}"
    sizes: tuple[Size, ...] = ()
    if row_count is None:
        kernel = emit_once(_emit, plan, symbol_name)
    else:
        walk = DynamicGemmWalk(plan) if image is None else ImageGemmWalk(plan)
        kernel = walk.emit(symbol_name)
        sizes = tuple(walk.builder.sizes)
    columns = (product.groups, product.columns)

    def packed(values: Array | None) -> Array | None:
        if values is None:
            return None
        full = np.broadcast_to(values.reshape(-1), (product.groups * product.columns,))
        return pad_columns(full.reshape(columns), padded)

    runtime = epilogue.runtime
    return GemmKernel(
        kernel=kernel,
        work_items=plan.work_items,
        row_ends=plan.row_ends,
        items=plan.items,
        sizes=sizes,
        tile_rows=params.rows.large if image is None else 0,
        weights=pack_weights(
            weights.reshape(*columns, -1, plan.run_length), params.vectors, arithmetic
        ),
        bias=_copies(plan, pad_columns(_start(plan, bias.reshape(columns)), padded)),
        multiplier=packed(epilogue.multiplier),
        sums=packed(runtime.sums if runtime else None),
        offset=packed(runtime.offset if runtime else None),
    )


def _emit(plan: GemmPlan, name: str) -> Kernel:
    return GemmWalk(plan).emit(name)


def _start(plan: GemmPlan, bias: Array) -> Array:
    """What accumulators start from."""
    if plan.arithmetic.sum_dtype == "float32":
        return np.asarray(bias, np.float32)
    return start_of(bias, plan.reach)


def _copies(plan: GemmPlan, bias: Array) -> Array:
    """``bias_copies`` of padded biases."""
    lanes = plan.arithmetic.lanes
    blocks = [
        np.tile(group[start * lanes : (start + size) * lanes], plan.bias_copies)
        for group in bias.reshape(plan.product.groups, -1)
        for start, size in plan.params.vectors.starts()
    ]
    return np.concatenate(blocks)


def gemm_shape(product: Product, arithmetic: Arithmetic, output_dtype: str) -> ProductShape:
    """What the choice of tiles depends on."""
    *runs, run = collapse_depth(product.depth)
    padded_run = -(-run.size // arithmetic.group) * arithmetic.group
    depth = math.prod(d.size for d in runs) * padded_run
    new_bytes = max(1, product.x_elements * arithmetic.x_bytes // product.row_count)
    return ProductShape(
        rows=tuple(d.size for d in collapse_rows(product.rows)),
        vectors=-(-product.columns // arithmetic.lanes),
        groups=product.groups,
        depth=depth,
        row_bytes=min(depth * arithmetic.x_bytes, new_bytes),
        result_bytes=max(1, product.output_elements // product.row_count)
        * np.dtype(output_dtype).itemsize,
        row_steps=tuple(
            largest(d.x) * arithmetic.x_bytes for d in collapse_rows(product.rows)
        ),
    )
