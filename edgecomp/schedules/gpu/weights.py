"""Where a kernel has the weights of a product: in a buffer, or in an image.

GPUs of phones read images through a cache of their own, beside the one of buffers, which then has
the activations to itself. A target says so, and how large images are (``gpu.textures``).
"""

import dataclasses

import numpy as np

from edgecomp.device.target import Gpu
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.halves import stored_floats
from edgecomp.schedules.gpu.images import Image
from edgecomp.schedules.gpu.places import LANES
from edgecomp.schedules.gpu.vectors import load_as_stored, load_vector


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightShape:
    """What is multiplied.

    Attributes:
        groups: of columns.
        columns: of a group.
        padded_columns: of a group in memory, a multiple of ``LANES``.
        runs: parts of K, one after the other.
        run: neighbouring elements of K in each.
    """

    groups: int
    columns: int
    padded_columns: int
    runs: int
    run: int

    def padded(self, weight: Array) -> Array:
        """[groups * columns, K] as [groups, padded columns, runs, run]."""
        whole = weight.reshape(self.groups, self.columns, self.runs, self.run)
        spare = self.padded_columns - self.columns
        return np.pad(whole, ((0, 0), (0, spare), (0, 0), (0, 0)))


@dataclasses.dataclass(frozen=True)
class Texel:
    """A place in an image of weights.

    Attributes:
        row: of texels.
        element: of K, that many behind the row's first one.
    """

    row: Expr
    element: Expr | int = 0


class WeightBuffer:
    """Weights as [groups][K][padded columns].

    A place is the index of an element of K in the first of a work item's columns.
    """

    def __init__(self, builder: GridBuilder, dtype: str, shape: WeightShape) -> None:
        self._builder, self._shape = builder, shape
        depth = shape.runs * shape.run
        self._group_step = depth * shape.padded_columns
        self._buffer: Buffer = builder.pointer(
            "weights", dtype, shape.groups * self._group_step
        )

    def begin(self, group: Expr, column: Expr) -> Expr:
        """The place of a group's first element of K."""
        if self._shape.groups == 1:
            return column
        return self._builder.let("weight_at", group * self._group_step + column)

    def begin_behind(self, group: Expr, column: Expr, k: Expr) -> Expr:
        """The place of an element of K, one of the first ``LANES``."""
        at = column if self._shape.groups == 1 else column + group * self._group_step
        return self._builder.let("weight_at", at + k * self._shape.padded_columns)

    def advance(self, elements: int) -> int:
        """What to add to a place for so many elements of K: runs, or vectors within one."""
        return elements * self._shape.padded_columns

    def place(self, at: Expr, element: int) -> Expr:
        """The place of one of the elements of a run that are behind a place."""
        return at + element * self._shape.padded_columns

    def walk(self, at: Expr, k: Expr) -> Expr:
        """The place of the ``k``-th element of a run that begins at a place."""
        return self._builder.let("weight_at", at + k * self._shape.padded_columns)

    def load(self, place: Expr, element: int, vector: int, *, as_stored: bool = False) -> Expr:
        """``LANES`` columns, the ``vector``-th ones, of an element of K behind a place."""
        at = place + (element * self._shape.padded_columns + vector * LANES)
        return (load_as_stored if as_stored else load_vector)(self._buffer, at, LANES)

    def load_at(self, place: Expr, *, as_stored: bool = False) -> Expr:
        """``LANES`` columns of the element of K at a place."""
        return self.load(place, 0, 0, as_stored=as_stored)

    def pack(self, weight: Array) -> Array:
        """[groups * columns, K] as the kernel reads it."""
        ordered = self._shape.padded(weight).transpose(0, 2, 3, 1)
        return stored_floats(np.ascontiguousarray(ordered).reshape(-1))


class WeightImage:
    """Weights in an image: a row of texels has ``LANES`` elements of K of all columns.

        texels    columns 0..3, K 0 | .., K 1 | .., K 2 | .., K 3 | columns 4..7, K 0 | ..
        rows      every LANES elements of a run, the runs, the groups

    What a work item reads at once lies side by side. A run that is no multiple of ``LANES`` ends
    with zeros, which are not read.

    A place is a row, at the first column that a work item has.
    """

    def __init__(self, builder: GridBuilder, dtype: str, shape: WeightShape) -> None:
        self._builder, self._shape = builder, shape
        self._run_rows = -(-shape.run // LANES)
        self._column: Expr = None
        self._image: Image = builder.image("weights", dtype, *extents_of(shape))

    def begin(self, group: Expr, column: Expr) -> Expr:
        """The place of a group's first element of K."""
        self._column = column
        if self._shape.groups == 1:
            return tirx.const(0, "int32")
        return self._builder.let("weight_row", group * (self._shape.runs * self._run_rows))

    def begin_behind(self, group: Expr, column: Expr, k: Expr) -> Expr:
        """The place of an element of K, one of the first ``LANES``."""
        return self.begin(group, self._builder.let("texel", column + k))

    def advance(self, elements: int) -> int:
        """What to add to a place for so many elements of K: runs, or vectors within one."""
        runs, rest = divmod(elements, self._shape.run)
        return runs * self._run_rows + rest // LANES

    def place(self, at: Expr, element: int) -> Texel:
        """The place of one of the elements of a run that are behind a place."""
        rows, lane = divmod(element, LANES)
        return Texel(at + rows if rows else at, lane)

    def walk(self, at: Expr, k: Expr) -> Texel:
        """The place of the ``k``-th element of a run that begins at a place."""
        let = self._builder.let
        rows = let("weight_row", at + tirx.truncdiv(k, LANES))
        return Texel(rows, let("lane", k & (LANES - 1)))

    def load(
        self, place: Expr | Texel, element: int, vector: int, *, as_stored: bool = False
    ) -> Expr:
        """``LANES`` columns, the ``vector``-th ones, of an element of K behind a place."""
        texel = place if isinstance(place, Texel) else Texel(place)
        at = self._column + (texel.element + (element + vector * LANES))
        read = self._image.load_as_stored if as_stored else self._image.load
        return read(at, texel.row)

    def load_at(self, place: Expr | Texel, *, as_stored: bool = False) -> Expr:
        """``LANES`` columns of the element of K at a place."""
        return self.load(place, 0, 0, as_stored=as_stored)

    def pack(self, weight: Array) -> Array:
        """[groups * columns, K] as the kernel reads it: [rows, elements]."""
        shape, spare = self._shape, self._run_rows * LANES - self._shape.run
        whole = np.pad(shape.padded(weight), ((0, 0), (0, 0), (0, 0), (0, spare)))
        cut = whole.reshape(shape.groups, -1, LANES, shape.runs, self._run_rows, LANES)
        ordered = cut.transpose(0, 3, 4, 1, 5, 2)
        rows = shape.groups * shape.runs * self._run_rows
        return stored_floats(np.ascontiguousarray(ordered).reshape(rows, -1))


def extents_of(shape: WeightShape) -> tuple[int, int]:
    """Width and height of an image of weights, in texels."""
    return shape.padded_columns, shape.groups * shape.runs * -(-shape.run // LANES)


def declare_image(
    builder: GridBuilder, dtype: str, shape: WeightShape, gpu: Gpu
) -> WeightImage | None:
    """A kernel's parameter of weights where the target has images so large; None elsewhere."""
    if gpu.textures is None or not gpu.textures.hold(*extents_of(shape)):
        return None
    return WeightImage(builder, dtype, shape)


def declare_weights(
    builder: GridBuilder, dtype: str, shape: WeightShape, gpu: Gpu
) -> WeightBuffer | WeightImage:
    """The same, or else in a buffer."""
    image = declare_image(builder, dtype, shape, gpu)
    return WeightBuffer(builder, dtype, shape) if image is None else image
