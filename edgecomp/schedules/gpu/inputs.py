"""Where a kernel has the activations that it reads in vectors: in a buffer, or in an image over it.

Images of channels (``NHWC``) in fours are what an image2d_t with texels of four elements has in
memory, row after row. How long its rows are is free, then: a power of two that devices take for
images over buffers, so that a texel's row and column are bits of its number. Of dynamic sizes the
image is the one of the largest: a run's texels are its first ones.
"""

from collections.abc import Iterable
from typing import overload

from edgecomp.device.target import Gpu
from edgecomp.plan.plan import TEXEL_ELEMENTS
from edgecomp.plan.sizes import Dimension, Size, exact_quotient, largest
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.images import Image
from edgecomp.schedules.gpu.places import is_multiple
from edgecomp.schedules.gpu.vectors import load_as_stored, load_vector

#: Others stay in buffers: a texel of 8-bit integers would be a word.
_DTYPES = ("float32", "float16")


class InputBuffer:
    """Activations in a buffer. A place is the index of an element."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer

    @overload
    def in_places(self, elements: int) -> int: ...
    @overload
    def in_places(self, elements: Size) -> Size: ...
    @overload
    def in_places(self, elements: Expr) -> Expr: ...
    def in_places(self, elements: Expr | Size | int) -> Expr | Size | int:
        """A distance between places."""
        return elements

    def load(self, place: Expr, lanes: int) -> Expr:
        """Neighbouring elements; floats of 16 bits become float32."""
        return load_vector(self.buffer, place, lanes)

    def load_as_stored(self, place: Expr, lanes: int) -> Expr:
        """The same without any conversion."""
        return load_as_stored(self.buffer, place, lanes)


class InputImage:
    """Activations in an image. A place is the number of a texel.

    Args:
        builder: of the kernel.
        image: its parameter.
        width: of the image, a power of two.
    """

    def __init__(self, builder: GridBuilder, image: Image, width: int) -> None:
        self._builder, self._image, self._width = builder, image, width

    @overload
    def in_places(self, elements: int) -> int: ...
    @overload
    def in_places(self, elements: Size) -> Size: ...
    @overload
    def in_places(self, elements: Expr) -> Expr: ...
    def in_places(self, elements: Expr | Size | int) -> Expr | Size | int:
        """A distance between places: of elements, a multiple of a texel's."""
        if not isinstance(elements, int | Size):
            return tirx.truncdiv(elements, TEXEL_ELEMENTS)
        places = exact_quotient(elements, TEXEL_ELEMENTS)
        assert places is not None, f"{elements} elements are no whole texels"
        return places

    def load(self, place: Expr, lanes: int) -> Expr:
        """A texel's elements as float32."""
        return self._image.load(*self._at(place, lanes))

    def load_as_stored(self, place: Expr, lanes: int) -> Expr:
        """A texel's elements without any conversion."""
        return self._image.load_as_stored(*self._at(place, lanes))

    def _at(self, place: Expr, lanes: int) -> tuple[Expr, Expr]:
        assert lanes == TEXEL_ELEMENTS, f"{lanes} elements are no texel"
        texel = self._builder.let("texel", place)
        return texel & (self._width - 1), texel >> (self._width.bit_length() - 1)


def declare_input(
    builder: GridBuilder,
    dtype: str,
    elements: Dimension,
    distances: Iterable[Dimension],
    gpu: Gpu,
) -> InputBuffer | InputImage:
    """A kernel's first parameter.

    Args:
        builder: of the kernel.
        dtype: in memory.
        elements: of the buffer.
        distances: whatever is between two places that the kernel loads four elements from.
        gpu: the device.
    """
    width = image_width(dtype, elements, distances, gpu)
    if width is None:
        return InputBuffer(builder.pointer("x", dtype, elements))
    height = -(-largest(elements) // (width * TEXEL_ELEMENTS))
    return InputImage(builder, builder.image("x", dtype, width, height), width)


def image_width(
    dtype: str, elements: Dimension, distances: Iterable[Dimension], gpu: Gpu
) -> int | None:
    """Texels of a row: as few as the device takes; None where a buffer it is."""
    textures = gpu.textures
    if textures is None or textures.row_texels is None or dtype not in _DTYPES:
        return None
    if not all(is_multiple(each, TEXEL_ELEMENTS) for each in (elements, *distances)):
        return None
    width, most = textures.row_texels, largest(elements)
    while not textures.hold(width, -(-most // (width * TEXEL_ELEMENTS))):
        width *= 2
        if width > textures.width:
            return None
    return width
