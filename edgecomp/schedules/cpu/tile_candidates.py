"""Tiles of a product that are worth measuring, and their form as text.

The cost model of ``tiles`` orders tiles well and times them badly: what it thinks best is nearly
always among the first few, and which one that is depends on what it does not know (ports,
prefetchers, banks of the cache). So the first few are measured, with the blocks it gives them;
and its own tile with other blocks.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping

from edgecomp.device.target import Target
from edgecomp.schedules.cpu.arithmetic import Arithmetic
from edgecomp.schedules.cpu.tiles import (
    MAX_VECTORS,
    ProductShape,
    Split,
    TileParams,
    params_for,
    ranked_cuts,
)
from edgecomp.schedules.params import ParamsError, params_text, read_params, require_range

#: Tiles to measure beside the best.
MOST_CUTS = 6
#: A tile modelled to take more than this many times the best one's cycles is not measured.
WORST_RATIO = 1.6
#: Rows of a tile: more only cost code.
_MOST_ROWS = 64
#: Follows from the other parameters, so that a text does not have it.
_DERIVED = "chunk_tiles"


def tile_candidates(
    shape: ProductShape, arithmetic: Arithmetic, target: Target
) -> list[TileParams]:
    """Parameters to measure, the model's own first."""
    cuts = ranked_cuts(shape, arithmetic, target)
    least = cuts[0][0]
    near = [cut for cycles, cut in cuts if cycles <= WORST_RATIO * least][:MOST_CUTS]
    tiles = [params_for(shape, arithmetic, target, cut) for cut in near]
    return list(dict.fromkeys([*tiles, *_other_blocks(tiles[0], shape)]))


def _other_blocks(params: TileParams, shape: ProductShape) -> Iterator[TileParams]:
    """The same tile in other blocks, and without its prefetches."""
    tiles = math.prod(shape.rows[: params.axis]) * params.rows.count
    for row_chunks in (-(-params.row_chunks // 2), min(tiles, 2 * params.row_chunks)):
        chunk = -(-tiles // row_chunks)
        part = chunk if params.chunk_blocks > 1 else min(params.part_tiles, chunk)
        yield dataclasses.replace(
            params, row_chunks=row_chunks, chunk_tiles=chunk, part_tiles=part
        )
    if params.prefetch_bytes:
        yield dataclasses.replace(params, prefetch_bytes=0)
    if params.prefetch_next:
        yield dataclasses.replace(params, prefetch_next=False)


def tile_text(params: TileParams) -> str:
    """The text of parameters: a split by the size of its largest part."""
    values = {}
    for field in dataclasses.fields(params):
        if field.name == _DERIVED:
            continue
        value = getattr(params, field.name)
        values[field.name] = value.large if isinstance(value, Split) else int(value)
    return params_text(values)


def read_splits(
    values: Mapping[str, int], shape: ProductShape, arithmetic: Arithmetic, target: Target
) -> tuple[Split, Split]:
    """The rows and vectors of a product of two values, from the numbers of a text.

    Raises:
        ParamsError: they do not fit the product or the target's registers.
    """
    require_range("rows", values["rows"], 1, shape.rows[0])
    require_range("vectors", values["vectors"], 1, shape.vectors)
    rows = Split.by_size(shape.rows[0], values["rows"])
    vectors = Split.by_size(shape.vectors, values["vectors"])
    least = rows.large == 1 and vectors.large == 1
    registers = target.core.vector_registers
    if not least and not arithmetic.fits(rows.large, vectors.large, registers):
        raise ParamsError("the tile does not fit the registers")
    return rows, vectors


def tile_params(
    text: str, shape: ProductShape, arithmetic: Arithmetic, target: Target
) -> TileParams:
    """The parameters of a text.

    Raises:
        ParamsError: they do not fit the product or the target's registers.
    """
    fields = {f.name: f for f in dataclasses.fields(TileParams) if f.name != _DERIVED}
    defaults = {
        name: field.default
        for name, field in fields.items()
        if field.default is not dataclasses.MISSING
    }
    values = read_params(text, fields.keys() - defaults.keys(), defaults)
    axis = values["axis"]
    require_range("axis", axis, 0, len(shape.rows) - 1)
    inner = math.prod(shape.rows[axis + 1 :])
    require_range("rows", values["rows"], 1, min(shape.rows[axis], _MOST_ROWS // inner))
    require_range("vectors", values["vectors"], 1, min(shape.vectors, MAX_VECTORS))
    rows = Split.by_size(shape.rows[axis], values["rows"])
    vectors = Split.by_size(shape.vectors, values["vectors"])
    least = rows.large == 1 and vectors.large == 1
    if not least and not arithmetic.fits(
        rows.large * inner, vectors.large, target.core.vector_registers
    ):
        raise ParamsError("the tile does not fit the registers")
    tiles = math.prod(shape.rows[:axis]) * rows.count
    require_range("row_chunks", values["row_chunks"], 1, tiles)
    values[_DERIVED] = -(-tiles // values["row_chunks"])
    require_range("chunk_blocks", values["chunk_blocks"], 1, vectors.count)
    if values.get("prefetch_next") and vectors.count == 1:
        raise ParamsError("prefetch_next=1 with one column block")
    for name, default in defaults.items():
        if isinstance(default, bool) and name in values:
            require_range(name, values[name], 0, 1)
            values[name] = bool(values[name])
        elif name in values:
            require_range(name, values[name], 0, 1 << 20)
    try:
        return TileParams(**{**values, "rows": rows, "vectors": vectors})  # type: ignore[arg-type]
    except ValueError as error:
        raise ParamsError(str(error)) from error
