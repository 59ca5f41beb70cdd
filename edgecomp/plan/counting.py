"""Operations that find how large their results are while the model runs.

The last output of one is the count, an int64 whose value is the size of a dimension in the others
and in what follows (``plan.sizes.Symbol.is_counted``).
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class NonZero:
    """Positions of all elements that are not zero, in row-major order.

    inputs: x row-major, any dtype.
    outputs: int64 [rank of x, n], a column for each; count int64 [], which is n.

    Attributes:
        symbol: name of n in ``Program.symbols``. No more columns than its maximum are written;
            the count says how many there would be.
    """

    symbol: str


@dataclasses.dataclass(frozen=True)
class NonMaxSuppression:
    """Boxes with the highest scores that do not overlap one another too much, class by class.

    inputs, row-major: boxes float32 [batch, boxes, 4]; scores float32 [batch, classes, boxes];
        greatest number of boxes of a class, int64 of one element; greatest overlap
        (intersection over union), float32 of one element; with ``has_threshold`` the score
        that all have to exceed, float32 of one element.
    outputs: int64 [n, 3], batch, class and box of each; count int64 [], which is n.

    Attributes:
        symbol: as for NonZero.
        class_boxes: most of a class that there is memory for.
        is_centered: boxes are x, y, width, height with the centre first, else two corners.
        has_threshold: see the inputs.
    """

    symbol: str
    class_boxes: int
    is_centered: bool
    has_threshold: bool


@dataclasses.dataclass(frozen=True)
class Unique:
    """Distinct elements, or distinct slices along an axis.

    inputs: x row-major.
    outputs, row-major: the distinct ones, ascending or in the order of x, n along ``axis`` or
        [n]; int64 [n], where each is first; int64 [size], for each of x the place among the
        distinct ones; int64 [n], how often each is there; count int64 [], which is n.

    Attributes:
        symbol: as for NonZero.
        axis: of the slices; None for elements.
        is_sorted: whether they ascend; slices by their first difference.
    """

    symbol: str
    axis: int | None
    is_sorted: bool


@dataclasses.dataclass(frozen=True)
class GivenCount:
    """A number of the model's own as the size of what follows.

    inputs: int64 of one element.
    outputs: count int64 [].

    Attributes:
        symbol: as for NonZero.
    """

    symbol: str


@dataclasses.dataclass(frozen=True)
class Progression:
    """``start, start + step, ..`` before a limit.

    inputs: start, limit and step of one element each, all of one dtype.
    outputs: [n] of that dtype; count int64 [], which is n, or -1 where the step is 0.

    Attributes:
        symbol: as for NonZero.
    """

    symbol: str


@dataclasses.dataclass(frozen=True)
class SliceBetween:
    """Every ``step``-th index of an axis between two that are known when the model runs.

    inputs: x row-major; begin and end, int64 or int32 of one element each, negative ones
        counted from the end of the axis.
    outputs: row-major, x's shape with n along ``axis``; count int64 [], which is n.

    Attributes:
        symbol: as for NonZero.
        axis: not negative.
        step: not 0.
    """

    symbol: str
    axis: int
    step: int


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Numbers that follow from dynamic dimensions.

    inputs: none.
    output: a list of integers, as many as ``numbers``, which are ``plan.sizes.Dimension``.
    """

    numbers: tuple[int, ...]
