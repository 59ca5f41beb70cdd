"""Which rows of an image the work items of a kernel read and write."""

from collections.abc import Iterable

from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.schedules.cpu.bands import band_rows
from edgecomp.schedules.schedule import Progress


def product_progress(
    operation: Operation, pixel_ends: Iterable[tuple[int, int]]
) -> Progress | None:
    """Of a convolution as a matrix product.

    Args:
        operation: a convolution.
        pixel_ends: (work items, output pixels that they compute, from the first on), ascending.
    """
    batch, _, _, width = operation.output.shape
    if batch != 1:
        return None
    ends = list(pixel_ends)
    starts = [0, *(pixels // width for _, pixels in ends)][:-1]
    return Progress(
        items=tuple(items for items, _ in ends),
        begun=tuple(-(-pixels // width) for _, pixels in ends),
        done=tuple(pixels // width for _, pixels in ends),
        first=tuple(_first(operation, row) for row in starts),
        needed=tuple(_needed(operation, -(-pixels // width)) for _, pixels in ends),
    )


def band_progress(operation: Operation, items: int, bands: int, tile: int) -> Progress | None:
    """Of a convolution that is walked by ``windows.walk_groups``.

    Args:
        operation: the convolution.
        items: of its kernel.
        bands: as given to ``walk_groups``.
        tile: output rows of a row of work items.
    """
    batch, _, rows, _ = operation.output.shape
    height = band_rows(rows // tile, bands)
    bands = -(-(rows // tile) // height)
    if batch != 1 or bands == 1:
        return None
    done = tuple(min(rows, (band + 1) * height * tile) for band in range(bands))
    return Progress(
        items=tuple(items // bands * (band + 1) for band in range(bands)),
        begun=done,
        done=done,
        first=tuple(_first(operation, row) for row in (0, *done[:-1])),
        needed=tuple(_needed(operation, rows) for rows in done),
    )


def _first(operation: Operation, row: int) -> int:
    """First row of x under the windows of an output row."""
    kind = operation.kind
    assert isinstance(kind, Convolution)
    return max(0, row * kind.strides[0] - kind.pads[0])


def _needed(operation: Operation, rows: int) -> int:
    """Rows of x under the windows of the first rows of output."""
    kind, (x, weight) = operation.kind, operation.inputs[:2]
    assert isinstance(kind, Convolution)
    window = (weight.shape[2] - 1) * kind.dilations[0] + 1
    reached = (rows - 1) * kind.strides[0] + window - kind.pads[0]
    return max(0, min(reached, x.shape[2]))
