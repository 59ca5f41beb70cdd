"""Values that kernels read as image2d_t: texels of four elements, through a cache of their own.

TVM's generator of OpenCL C has textures only as ``image2d_array_t``, which no device makes over a
buffer, with coordinates of three numbers and texels of four halves or floats alone: no integers.
So its word for the type and its sampler are all that is used of them: ``lower/device_source.py``
makes image2d_t of the word, and texels are read by what it writes in front of kernels.
"""

import dataclasses

from edgecomp.plan.plan import TEXEL_ELEMENTS
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, reinterpret
from edgecomp.schedules.builder import constant as constant_of

#: How kernels call a texel's channels: as float, half, int and uint.
_FLOAT, _HALF, _INT, _UINT = "EC_TEXEL_F", "EC_TEXEL_H", "EC_TEXEL_I", "EC_TEXEL_U"
_HALF_BITS = 16


@dataclasses.dataclass(frozen=True)
class Image:
    """A parameter of a kernel.

    Attributes:
        variable: that stands for it.
        dtype: of the elements; bfloat16 is uint16 in memory.
    """

    variable: Expr
    dtype: tirx.Dtype

    def load(self, x: Expr, y: Expr) -> Expr:
        """A texel: float32 of any float, int32 of any integer."""
        element = self.dtype.element
        if element in ("float32", "float16"):
            return self._texel(f"float32x{TEXEL_ELEMENTS}", _FLOAT, x, y)
        if element == "bfloat16":
            bits = self._texel(f"uint32x{TEXEL_ELEMENTS}", _UINT, x, y)
            shift = constant_of(_HALF_BITS, "uint32", TEXEL_ELEMENTS)
            return reinterpret(f"float32x{TEXEL_ELEMENTS}", bits << shift)
        if element == "uint8":
            return tirx.Cast(
                f"int32x{TEXEL_ELEMENTS}", self._texel(f"uint32x{TEXEL_ELEMENTS}", _UINT, x, y)
            )
        return self._texel(f"int32x{TEXEL_ELEMENTS}", _INT, x, y)

    def load_as_stored(self, x: Expr, y: Expr) -> Expr:
        """A texel of float16, on a device that computes in it."""
        return self._texel(f"float16x{TEXEL_ELEMENTS}", _HALF, x, y)

    def _texel(self, dtype: str, function: str, x: Expr, y: Expr) -> Expr:
        return tirx.call_pure_extern(dtype, function, self.variable, x, y)
