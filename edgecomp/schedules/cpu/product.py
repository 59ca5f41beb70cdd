"""Addresses of a matrix product whose left side is not stored as a matrix."""

import dataclasses
import math
from collections.abc import Sequence

from edgecomp.plan.sizes import Dimension, has_dynamic, is_dynamic, largest


@dataclasses.dataclass(frozen=True)
class RowDimension:
    """One dimension of the rows.

    Attributes:
        size: how many.
        x, output, residual: elements between neighbours in each tensor.
    """

    size: Dimension
    x: Dimension
    output: Dimension
    residual: Dimension = 0


@dataclasses.dataclass(frozen=True)
class RunDimension:
    """One dimension of K: how many, and elements of x between neighbours."""

    size: int
    stride: Dimension


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """Rows of x times a matrix of weights, for each group.

    Rows, strides and offsets may differ from run to run; the buffers are then the largest.

    Attributes:
        rows: dimensions of the rows, outermost first.
        depth: dimensions of K, outermost first; the last has stride 1.
        columns: output channels of one group.
        groups: independent products; group g reads x from ``g * x_group_stride`` on and
            writes columns ``g * columns`` on.
        x_group_stride: in elements.
        x_offset, output_offset, residual_offset: of the first row.
        x_elements, output_elements, residual_elements: of the buffers.
    """

    rows: tuple[RowDimension, ...]
    depth: tuple[RunDimension, ...]
    columns: int
    groups: int = 1
    x_group_stride: int = 0
    x_offset: Dimension = 0
    output_offset: Dimension = 0
    residual_offset: Dimension = 0
    x_elements: int
    output_elements: int
    residual_elements: int = 0

    @property
    def row_count(self) -> Dimension:
        """Number of rows."""
        return math.prod(dimension.size for dimension in self.rows)

    @property
    def has_fixed_steps(self) -> bool:
        """Whether nothing but the number of rows differs from run to run."""
        rows, depth = collapse_rows(self.rows), collapse_depth(self.depth)
        offsets = (self.x_offset, self.output_offset, self.residual_offset)
        steps = [step for row in rows for step in (row.x, row.output, row.residual)]
        return not has_dynamic((*offsets, *steps, *(each.stride for each in depth)))

    @property
    def multiply_adds(self) -> int:
        """Of the whole product, at the largest sizes."""
        depth = math.prod(dimension.size for dimension in self.depth)
        return largest(self.row_count) * depth * self.columns * self.groups


def collapse_rows(rows: Sequence[RowDimension]) -> tuple[RowDimension, ...]:
    """Merge neighbouring dimensions that are one in every tensor; drop those of size 1."""
    merged: list[RowDimension] = []
    for outer in reversed([d for d in rows if is_dynamic(d.size) or d.size > 1]):
        last = merged[-1] if merged else None
        if last and all(
            getattr(outer, tensor) == last.size * getattr(last, tensor)
            for tensor in ("x", "output", "residual")
        ):
            merged[-1] = dataclasses.replace(last, size=last.size * outer.size)
        else:
            merged.append(outer)
    return tuple(reversed(merged)) or (RowDimension(1, 0, 0),)


def collapse_depth(depth: Sequence[RunDimension]) -> tuple[RunDimension, ...]:
    """Merge dimensions of K that are contiguous; the last one left is the run."""
    sized = [d for d in depth if d.size > 1]
    if not sized or sized[-1].stride != 1:
        sized.append(RunDimension(1, 1))
    merged = [sized[-1]]
    for outer in reversed(sized[:-1]):
        last = merged[-1]
        if outer.stride == last.size * last.stride:
            merged[-1] = RunDimension(outer.size * last.size, last.stride)
        else:
            merged.append(outer)
    return tuple(reversed(merged))
