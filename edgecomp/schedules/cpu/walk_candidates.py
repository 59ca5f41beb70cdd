"""Tiles of depthwise kernels that are worth measuring, and their form as text."""

import dataclasses
from collections.abc import Iterator

from edgecomp.plan.operations import Operation
from edgecomp.schedules.cpu.windows import Walk
from edgecomp.schedules.params import params_text, read_params, require_range

#: Output columns of a tile: more only cost code.
MOST_COLUMNS = 12
#: Vectors of a channel block.
MOST_VECTORS = 2

_NAMES = ("vectors", "columns", "blocks")


def walk_candidates(own: Walk, operation: Operation, most_vectors: int) -> list[Walk]:
    """Neighbours of the model's own walk, which comes first."""
    return list(dict.fromkeys([own, *_other_tiles(own, operation, most_vectors)]))


def _other_tiles(own: Walk, operation: Operation, most_vectors: int) -> Iterator[Walk]:
    """Other tiles in groups of about the same size; the same tile in other groups."""
    channels, width = operation.inputs[0].shape[1], operation.output.shape[3]
    group = own.vectors * own.blocks
    for vectors in range(1, most_vectors + 1):
        if vectors > 1 and channels <= own.lanes * (vectors - 1):
            continue
        for columns in range(own.columns - 2, own.columns + 2):
            if 1 <= columns <= min(width, MOST_COLUMNS):
                blocks = min(-(-group // vectors), _most_blocks(channels, own.lanes * vectors))
                yield dataclasses.replace(own, vectors=vectors, columns=columns, blocks=blocks)
    for blocks in (1, -(-own.blocks // 2), 2 * own.blocks):
        if blocks <= _most_blocks(channels, own.lanes * own.vectors):
            yield dataclasses.replace(own, blocks=blocks)


def walk_text(walk: Walk) -> str:
    """The text of a walk; lanes come from the target."""
    return params_text({name: getattr(walk, name) for name in _NAMES})


def walk_of(text: str, own: Walk, operation: Operation, most_vectors: int) -> Walk:
    """The walk of a text.

    Args:
        text: as ``walk_text`` writes it.
        own: the model's own walk, which gives what the text leaves out.
        operation: a claimed one.
        most_vectors: of a channel block.

    Raises:
        ParamsError: it does not fit.
    """
    values = read_params(text, _NAMES)
    channels, width = operation.inputs[0].shape[1], operation.output.shape[3]
    require_range("vectors", values["vectors"], 1, most_vectors)
    require_range("columns", values["columns"], 1, min(width, MOST_COLUMNS))
    most = max(own.blocks, _most_blocks(channels, own.lanes * values["vectors"]))
    require_range("blocks", values["blocks"], 1, most)
    return dataclasses.replace(own, **values)


def _most_blocks(channels: int, block: int) -> int:
    return -(-channels // block)
