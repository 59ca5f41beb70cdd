"""Operations that move elements, and leave them as they are."""

import dataclasses

from edgecomp.plan.values import Array


@dataclasses.dataclass(frozen=True)
class StridedCopy:
    """Copy of a box: transposes, slices, concatenation, split, padding, layout changes.

    inputs: x; then, if ``into``, nothing more: several StridedCopy operations may write
        disjoint parts of one output value.
    For every index i of ``shape``: ``out[out_start + i * out_step] = x[in_start + i' * in_step]``
    where ``i'[d]`` is ``i[permutation[d]]``: dimension d of x runs with dimension
    permutation[d] of the box. A step of 0 repeats an element (Expand); negative steps reverse.

    Attributes:
        shape: of the box, in the output's dimensions.
        permutation: for each dimension of x, the box dimension it follows, or -1 (stays at
            in_start).
        in_start, in_step: per dimension of x.
        out_start, out_step: per dimension of the output.
        lookup: 256 entries of the output's dtype, applied to 8-bit elements (requantization
            during a concat), or None.
        in_shape, out_shape: shapes under which x and the output are indexed where those are
            not their own: each cuts dimensions into factors, outer ones first (a channel
            shuffle is a copy from [N, g, C/g, H, W]). None for the value's own shape.
    """

    shape: tuple[int, ...]
    permutation: tuple[int, ...]
    in_start: tuple[int, ...]
    in_step: tuple[int, ...]
    out_start: tuple[int, ...]
    out_step: tuple[int, ...]
    lookup: Array | None = None
    in_shape: tuple[int, ...] | None = None
    out_shape: tuple[int, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Fill:
    """Constant into the whole output (Pad's border before its copy). No inputs."""

    value: float | int


@dataclasses.dataclass(frozen=True)
class FillHalo:
    """Constant into the halo of the output, which its producer then completes. No inputs."""

    value: float | int


@dataclasses.dataclass(frozen=True)
class Reinterpret:
    """The same elements under another shape: Reshape, Flatten, Squeeze, Unsqueeze.

    inputs: x row-major. output: row-major, an alias of x. Makes no kernel call.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resize:
    """Resize of the two image dimensions of an NHWC value by numpy-computed source positions.

    inputs: x NHWC. output: NHWC.
    For each output row y: ``rows[y]`` are two source rows, ``row_weights[y]`` their weights
    (nearest: both the same row, weights 1 and 0); likewise columns.
    Nearest works on any dtype (exact copy), linear on float32.
    """

    nearest: bool
    rows: Array  # int32 [OH, 2]
    row_weights: Array  # float32 [OH, 2]
    columns: Array  # int32 [OW, 2]
    column_weights: Array  # float32 [OW, 2]


@dataclasses.dataclass(frozen=True)
class Gather:
    """Rows of a table: ``out[..., :] = x`` taken at indices along ``axis``.

    inputs: x row-major, any dtype; indices int32 or int64 row-major (negative counts from
        the end).
    """

    axis: int


@dataclasses.dataclass(frozen=True)
class StorePart:
    """One part of a value along ``axis``, at an index known at run time.

    inputs: x row-major, any dtype; index int64 of one element.
    output: row-major, x's shape with ``axis`` more; the other parts keep what they hold.
    """

    axis: int


@dataclasses.dataclass(frozen=True)
class GatherParts:
    """Parts of a value at positions that are known when the model runs.

    inputs: x row-major [B, D1 .. Dr, T]; indices int64 or int32 row-major [B, ..., r]. B stands
        for the first ``batch_dims`` dimensions, T for what is behind those that r counts.
    output: row-major [B, ..., T]. An index outside takes the nearest element of its dimension.
    """

    batch_dims: int
