"""Which elements of each operand a work item has."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.sizes import Dimension, exact_quotient
from edgecomp.schedules.builder import Expr
from edgecomp.schedules.cpu.iteration import Space
from edgecomp.schedules.cpu.nest import advance, unravel
from edgecomp.schedules.gpu.builder import GridBuilder

#: Elements of a vector that a work item loads and stores at once.
LANES = 4
#: Interfaces whose kernels have vectors of 8.
_VECTORS_OF_8 = ("opencl", "cuda")
_HALF_BITS = 16


def gpu_of(target: Target) -> Gpu:
    """The target's GPU, which is there wherever a GPU's schedule is asked."""
    assert target.gpu is not None
    return target.gpu


def flat_target(target: Target) -> Target:
    """The target for parts of the CPU's schedules that then use plain arithmetic only."""
    return dataclasses.replace(target, core=dataclasses.replace(target.core, isa=""))


def lanes_of_space(space: Space, most: int = LANES) -> int:
    """Elements of a vector: every operand has them contiguous or repeats one; else 1.

    Args:
        space: operand 0 is written.
        most: a multiple of ``LANES``, which is what there is where it does not fit.
    """
    strides = [space.inner_stride(k) for k in range(len(space.strides))]
    if strides[0] != 1 or not set(strides) <= {0, 1}:
        return 1
    for lanes in (most, LANES):
        if is_multiple(space.sizes[-1], lanes):
            return lanes
    return 1


def is_multiple(number: Dimension, of: int) -> bool:
    """Whether a number is a multiple of another one at every size."""
    return exact_quotient(number, of) is not None


def most_lanes_of(dtypes: Iterable[str], gpu: Gpu) -> int:
    """``LANES``, twice as many of 16 bits where a vector of 8 is a type and loaded at once."""
    widest = max(8 * np.dtype(dtype).itemsize for dtype in dtypes)
    is_wide = gpu.api in _VECTORS_OF_8 and 2 * LANES * widest <= gpu.vector_bits
    return 2 * LANES if is_wide and widest == _HALF_BITS else LANES


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
    with builder.each(space.elements) as at:
        indices = unravel(builder, at, space.sizes)
        offsets = [builder.size(offset) for offset in space.offsets]
        yield advance(builder, space, range(len(space.sizes)), indices, offsets)
