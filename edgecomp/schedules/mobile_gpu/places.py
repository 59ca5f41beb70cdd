"""Which elements of each operand a work item has."""

import contextlib
import dataclasses
from collections.abc import Iterator

from edgecomp.device.target import Gpu, Target
from edgecomp.schedules.builder import Expr
from edgecomp.schedules.cpu.iteration import Space
from edgecomp.schedules.cpu.nest import advance, unravel
from edgecomp.schedules.mobile_gpu.builder import GridBuilder

#: Elements of a vector that a work item loads and stores at once.
LANES = 4


def gpu_of(target: Target) -> Gpu:
    """The target's GPU, which is there wherever a GPU's schedule is asked."""
    assert target.gpu is not None
    return target.gpu


def flat_target(target: Target) -> Target:
    """The target for parts of the CPU's schedules that then use plain arithmetic only."""
    return dataclasses.replace(target, core=dataclasses.replace(target.core, isa=""))


def lanes_of_space(space: Space) -> int:
    """``LANES`` where every operand has its vectors contiguous or repeats one element, else 1."""
    strides = [space.inner_stride(k) for k in range(len(space.strides))]
    fits = space.sizes[-1] % LANES == 0 and strides[0] == 1 and set(strides) <= {0, 1}
    return LANES if fits else 1


def in_vectors(space: Space, lanes: int) -> Space:
    """The space whose innermost dimension counts vectors."""
    if lanes == 1:
        return space
    return Space(
        (*space.sizes[:-1], space.sizes[-1] // lanes),
        tuple((*own[:-1], own[-1] * lanes) for own in space.strides),
        space.offsets,
    )


@contextlib.contextmanager
def places_of_items(builder: GridBuilder, space: Space) -> Iterator[list[Expr]]:
    """Statements for the element of each work item of a line.

    Args:
        builder: of a kernel that has at least as many work items.
        space: elements.

    Yields:
        Offset of the element in each operand.
    """
    with builder.each(int(space.elements)) as at:
        indices = unravel(builder, at, space.sizes)
        yield advance(builder, space, range(len(space.sizes)), indices, space.offsets)
