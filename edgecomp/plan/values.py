"""Values that flow between operations, and how each lies in memory."""

import dataclasses
import enum
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecomp.plan.sizes import has_dynamic, largest, largest_shape

Array = npt.NDArray[Any]

#: Every value is followed by this many readable bytes, so that a kernel may load a whole
#: vector at the last element.
SLACK_BYTES = 64


class Order(enum.Enum):
    """Order of the dimensions in memory."""

    ROW_MAJOR = "row_major"  # as in ONNX, last dimension contiguous
    NHWC = "nhwc"  # rank 4 only: channels contiguous, with a halo around height and width


@dataclasses.dataclass(frozen=True)
class Halo:
    """Rows and columns around an NHWC image that hold the padding value of its consumers."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0

    def union(self, other: "Halo") -> "Halo":
        """The smallest halo that contains both."""
        return Halo(
            max(self.top, other.top),
            max(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def __bool__(self) -> bool:
        return bool(self.top or self.left or self.bottom or self.right)


@dataclasses.dataclass(frozen=True)
class View:
    """Addresses of a value's elements: ``offset + sum(index[d] * strides[d])``, in elements.

    Attributes:
        shape: logical shape, ONNX order.
        strides: elements between neighbours, per logical dimension.
        offset: elements before the one at index 0.
        elements: elements the whole buffer holds, halo included, slack excluded.
    """

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    elements: int

    def broadcast_to(self, shape: tuple[int, ...]) -> "View":
        """The view with numpy broadcasting applied: stride 0 where a dimension repeats."""
        pad = len(shape) - len(self.shape)
        own = (1,) * pad + self.shape
        strides = (0,) * pad + self.strides
        for have, want in zip(own, shape, strict=True):
            if have not in (1, want):
                raise ValueError(f"shape {self.shape} does not broadcast to {shape}")
        return View(
            shape,
            tuple(0 if have == 1 else s for have, s in zip(own, strides, strict=True)),
            self.offset,
            self.elements,
        )

    def refined(self, shape: tuple[int, ...]) -> "View":
        """The same elements with dimensions cut into factors, outer ones first.

        Raises:
            ValueError: when ``shape`` does not cut this one.
        """
        groups = refinement(self.shape, shape)
        if groups is None:
            raise ValueError(f"shape {shape} does not cut {self.shape}")
        strides: list[int] = []
        for factors, stride in zip(groups, self.strides, strict=True):
            inner = [math.prod(factors[k + 1 :]) for k in range(len(factors))]
            strides += [stride * below for below in inner]
        return View(shape, tuple(strides), self.offset, self.elements)


def refinement(shape: tuple[int, ...], finer: tuple[int, ...]) -> list[tuple[int, ...]] | None:
    """For each dimension of ``shape`` the factors that ``finer`` cuts it into, in order.

    Dimensions of 1 in ``finer`` belong to the dimension behind them, at the end to the last; a
    dimension of 1 in ``shape`` may have none. None where a dimension of ``finer`` spans several
    of ``shape``.
    """
    groups: list[tuple[int, ...]] = []
    at = 0
    for position, size in enumerate(shape):
        last = position == len(shape) - 1
        begin, product = at, 1
        while at < len(finer) and (
            largest(product) < largest(size) or (last and finer[at] == 1)
        ):
            product *= finer[at]
            at += 1
        if product != size:
            return None
        groups.append(tuple(finer[begin:at]))
    return groups if at == len(finer) else None


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Affine meaning of a quantized value: ``real = (stored - zero_point) * scale``.

    Attributes:
        scale: float32, per tensor.
        zero_point: in the range of the value's dtype.
    """

    scale: float
    zero_point: int


@dataclasses.dataclass(eq=False)
class Value:
    """One tensor of the program. Identity matters: two values are equal only if the same.

    Attributes:
        name: unique in the program.
        shape: logical shape in ONNX order (N, C, H, W for images). In programs of dynamic
            dimensions it may hold ``plan.sizes.Size``; a constant then has its largest contents,
            of which it is the part that begins at index 0.
        dtype: numpy name; bfloat16 and the float8 and int4 kinds come from ml_dtypes.
        order: order in memory; constants are always ROW_MAJOR.
        halo: only with NHWC.
        quantization: scale and zero point of quantized activations, else None.
        constant: contents of a constant, else None.
        alias_of: value whose memory this one is another view of (a reshape), else None.
        part_of: NHWC image of which this one is some channels, else None. It has that image's
            halo.
        first_channel: of the part.
        storage: dtype in memory where that is a narrower float, which kernels of a GPU widen when
            they load and round to when they store; "" for ``dtype``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    order: Order = Order.ROW_MAJOR
    halo: Halo = Halo()
    quantization: Quantization | None = None
    constant: Array | None = None
    alias_of: "Value | None" = None
    part_of: "Value | None" = None
    first_channel: int = 0
    storage: str = ""

    @property
    def stored(self) -> str:
        """The dtype that it has in memory."""
        return self.storage or self.dtype

    @property
    def elements(self) -> int:
        """Number of logical elements."""
        return math.prod(self.shape)

    @property
    def view(self) -> View:
        """Addresses of the elements under the current order and halo."""
        if self.part_of is not None:
            whole = self.part_of.view
            at = whole.offset + self.first_channel
            return View(self.shape, whole.strides, at, whole.elements)
        if self.order is Order.NHWC:
            return nhwc_view(self.shape, self.halo)
        if self.constant is not None and has_dynamic(self.shape):
            whole = row_major_view(self.constant.shape)
            return dataclasses.replace(whole, shape=self.shape)
        return row_major_view(self.shape)

    @property
    def bytes(self) -> int:
        """Bytes of the buffer, halo included, slack excluded."""
        return self.view.elements * np.dtype(self.stored).itemsize


def largest_bytes(value: Value) -> int:
    """Bytes of a value's buffer at the largest of every dimension."""
    whole = value.part_of
    if whole is not None:
        return largest_bytes(whole)
    return dataclasses.replace(value, shape=largest_shape(value.shape)).bytes


def largest_elements(value: Value) -> int:
    """Elements of that buffer, halo included."""
    return largest_bytes(value) // np.dtype(value.stored).itemsize


def row_major_view(shape: tuple[int, ...]) -> View:
    """The view of a contiguous array."""
    strides = [1] * len(shape)
    for d in range(len(shape) - 2, -1, -1):
        strides[d] = strides[d + 1] * shape[d + 1]
    return View(shape, tuple(strides), 0, math.prod(shape))


def nhwc_view(shape: tuple[int, ...], halo: Halo) -> View:
    """The view of an image (N, C, H, W) stored channels last inside ``halo``."""
    n, c, h, w = shape
    padded_w = halo.left + w + halo.right
    padded_h = halo.top + h + halo.bottom
    return View(
        shape,
        (padded_h * padded_w * c, 1, padded_w * c, c),
        (halo.top * padded_w + halo.left) * c,
        n * padded_h * padded_w * c,
    )
