"""Input and output transforms of Winograd's convolution on a GPU.

A work item has a vector of channels of one image tile; neighbours have neighbouring channels.
Tiles at the lower and right edges overlap those before them (``ImageTiles``): what overlaps is
stored by the earlier one alone, so that results do not depend on who comes last.
"""

from collections.abc import Callable, Sequence

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.plan import Launch
from edgecomp.plan.values import Value, View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, Kernel
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.linear_forms import Forms
from edgecomp.schedules.cpu.vectors import named, typed
from edgecomp.schedules.cpu.winograd_layer import pixel, place_of
from edgecomp.schedules.cpu.winograd_matrices import Winograd
from edgecomp.schedules.cpu.winograd_tiles import ImageTiles
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.places import LANES, flat_target, gpu_of
from edgecomp.schedules.gpu.vectors import load_vector, store_vector


def emit_tiles(
    image: Value, pads: Sequence[int], matrices: Winograd, tiles: ImageTiles, target: Target
) -> tuple[Kernel, Launch]:
    """``B^T d B`` of all tiles and channels: float32 [n * n][tiles][channels].

    Args:
        image: channels last, with its padding in the halo.
        pads: top and left padding.
        matrices: of the tiles.
        tiles: of the output.
        target: the device.
    """
    x = image.view
    channels, size, forms = x.shape[1], matrices.inputs, Forms.of(matrices.input_matrix)
    lanes = _lanes(channels, size, gpu_of(target))
    vectors = channels // lanes
    builder = GridBuilder.line(tiles.count * vectors, gpu_of(target).group_items)
    source = builder.pointer("x", image.stored, x.elements)
    to = builder.pointer("y", "float32", size**2 * tiles.count * channels)
    with builder.each(tiles.count * vectors) as at:
        number, channel = _divided(builder, at, vectors, lanes)
        tile = place_of(builder, tiles, number)
        corner = x.offset + tile.image * x.strides[0] + channel
        corner = corner + (tile.row - pads[0]) * x.strides[2]
        corner = builder.let("corner", corner + (tile.column - pads[1]) * x.strides[3])
        into = builder.let("into", number * channels + channel)

        def read(row: int, column: int) -> Expr:
            place = corner + (row * x.strides[2] + column * x.strides[3])
            return load_vector(source, place, lanes)

        for row, values in enumerate(_by_columns(builder, forms, size, read, lanes)):
            for column, value in enumerate(forms.multiply(builder, values)):
                place = into + (row * size + column) * (tiles.count * channels)
                store_vector(builder, to, place, value, lanes)
    return builder.finish("winograd_tiles"), builder.launch


def emit_outputs(
    output: View,
    residual: View | None,
    matrices: Winograd,
    tiles: ImageTiles,
    epilogue: Epilogue,
    target: Target,
) -> tuple[Kernel, Launch]:
    """``A^T s A`` of sums [tiles][n * n][columns], and what comes behind it.

    Args:
        output: the image of the results, channels last.
        residual: of the same shape, or None.
        matrices: of the tiles.
        tiles: of the output.
        epilogue: from sums to results in memory, the bias apart.
        target: the device.
    """
    columns, size, forms = output.shape[1], matrices.inputs, Forms.of(matrices.output_matrix)
    lanes = _lanes(columns, size, gpu_of(target))
    vectors = columns // lanes
    builder = GridBuilder.line(tiles.count * vectors, gpu_of(target).group_items)
    sums = builder.pointer("sums", "float32", tiles.count * size**2 * columns)
    bias = builder.pointer("bias", "float32", columns)
    added = None
    if residual is not None:
        added = builder.pointer("z", epilogue.residual_dtype, residual.elements)
    to = builder.pointer("y", epilogue.output_dtype, output.elements)
    with builder.each(tiles.count * vectors) as at:
        number, channel = _divided(builder, at, vectors, lanes)
        tile = place_of(builder, tiles, number)
        first = builder.let("first", number * (size**2 * columns) + channel)

        def read(row: int, column: int) -> Expr:
            return load_vector(sums, first + (row * size + column) * columns, lanes)

        start = builder.let(
            "start", load_vector(bias, channel, lanes), typed("float32", lanes)
        )
        for row, values in enumerate(_by_columns(builder, forms, size, read, lanes)):
            for column, value in enumerate(forms.multiply(builder, values)):
                tests = [tile.not_lowest] if row < tiles.overlap_rows else []
                tests += [tile.not_rightmost] if column < tiles.overlap_columns else []
                with builder.condition(_all(tests)):
                    before = None
                    if residual is not None:
                        place = pixel(residual, tile, row, column) + channel
                        before = load_vector(added, place, lanes)
                    result = epilogue.apply(
                        builder, flat_target(target), value + start, lanes, None, before
                    )
                    place = pixel(output, tile, row, column) + channel
                    store_vector(builder, to, place, result, lanes)
    return builder.finish("winograd_outputs"), builder.launch


def _lanes(channels: int, size: int, gpu: Gpu) -> int:
    """Channels of a work item: a tile of them in half of its registers."""
    fitting = (
        n for n in (LANES, 2) if size**2 * n <= gpu.registers // 2 and channels % n == 0
    )
    return next(fitting, 1)


def _divided(builder: GridBuilder, at: Expr, vectors: int, lanes: int) -> tuple[Expr, Expr]:
    """Tile and first channel of a work item."""
    number = builder.let("tile", tirx.truncdiv(at, vectors))
    return number, builder.let("channel", (at - number * vectors) * lanes)


def _by_columns(
    builder: GridBuilder,
    forms: Forms,
    size: int,
    read: Callable[[int, int], Expr],
    lanes: int,
) -> list[list[Expr]]:
    """Forms of each column of n x n vectors: [form][column]."""
    found: list[list[Expr]] = [[] for _ in forms.rows]
    for column in range(size):
        values = [
            builder.let("element", read(row, column), typed("float32", lanes))
            for row in range(size)
        ]
        for row, value in zip(found, forms.multiply(builder, values), strict=True):
            row.append(named(builder, "transformed", value))
    return found


def _all(tests: Sequence[Expr]) -> Expr | None:
    """All conditions, None for none."""
    if not tests:
        return None
    return tests[0] if len(tests) == 1 else tirx.And(*tests)
