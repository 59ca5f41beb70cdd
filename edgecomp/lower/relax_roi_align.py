"""RoiAlign by average as loops whose number is bounded whatever the boxes are.

Sample k of a bin lies at ``start + (k + 0.5) * bin / samples``, with ``samples = ceil(bin)`` where
the node fixes none. Topi visits all of them; those beyond the feature map count as zero, so a box
of 10^9 pixels takes 10^18 steps. Here k runs over those that may lie on the map: ``ceil(bin)``
samples are half a pixel apart at least, so that is about twice its extent in each direction.

Relax's importer also takes half a pixel off the corners before they are scaled, ONNX (mode
half_pixel) after: both agree at scale 1 only. That is put right here.
"""

import dataclasses
from typing import Any

import edgecomp.tvm_import  # noqa: F401

# isort: split
from tvm import relax, te, tirx
from tvm.topi.cpp.utils import bilinear_sample_nchw

#: Samples before and after those on the map that rounded positions may add.
_MARGIN = 4


def legalize_roi_align(builder: relax.BlockBuilder, call: relax.Call) -> Any:
    """``relax.vision.roi_align`` of images in NCHW, by average."""
    facts = call.attrs
    return builder.call_te(
        _roi_align,
        *call.args,
        pooled=[int(extent) for extent in facts.pooled_size],
        scale=float(facts.spatial_scale),
        samples=int(facts.sample_ratio),
        aligned=bool(facts.aligned),
        primfunc_name_hint="roi_align",
    )


@dataclasses.dataclass(frozen=True)
class _Bin:
    """One bin of a box in one direction, in pixels of the map.

    Attributes:
        start: where it begins. length: of it.
        samples: how many it has, a whole float.
        first: the first of them that may lie on the map, a whole float.
        visited: how many from there, int32; one at least, since a sum of nothing is not written.
    """

    start: Any
    length: Any
    samples: Any
    first: Any
    visited: Any

    def sample(self, visit: Any) -> Any:
        """Its number, a whole float; from ``samples`` on there is none."""
        return self.first + tirx.Cast(self.start.ty.dtype, visit)

    def position(self, visit: Any) -> Any:
        """Where the sample of a visit lies."""
        return self.start + (self.sample(visit) + 0.5) * self.length / self.samples


def _roi_align(
    data: Any, rois: Any, pooled: list[int], scale: float, samples: int, aligned: bool
) -> Any:
    """[boxes, channels, *pooled] of ``rois`` [boxes, (image, left, top, right, bottom)]."""
    dtype = rois.dtype
    _, channels, *extents = (int(extent) for extent in data.shape)

    def cell(box: Any, channel: Any, *at: Any) -> Any:
        corners = [_scaled(rois[box, k], scale, aligned) for k in range(1, 5)]
        bins = [
            _bin(
                corners[1 - d], corners[3 - d], at[d], pooled[d], samples, extents[d], aligned
            )
            for d in range(2)
        ]
        visits = [te.reduce_axis((0, each.visited)) for each in bins]
        positions = [each.position(k) for each, k in zip(bins, visits, strict=True)]
        outside = tirx.any(
            *(position < -1.0 for position in positions),
            *(p > float(extent) for p, extent in zip(positions, extents, strict=True)),
        )
        inside = [
            te.min(te.max(p, tirx.const(0.0, dtype)), tirx.const(extent - 1, dtype))
            for p, extent in zip(positions, extents, strict=True)
        ]
        image = rois[box, 0].astype("int32")
        most = [extent - 1 for extent in extents]
        value = bilinear_sample_nchw(data, (image, channel, *inside), *most)
        nothing = tirx.const(0.0, data.dtype)
        exist = tirx.all(*(b.sample(k) < b.samples for b, k in zip(bins, visits, strict=True)))
        counted = tirx.if_then_else(outside, nothing, value)
        counted = tirx.if_then_else(exist, counted, nothing)
        number = bins[0].samples * bins[1].samples
        share = te.max(tirx.Cast(data.dtype, number), tirx.const(1.0, data.dtype))
        return te.sum(counted / share, axis=visits)

    return te.compute((rois.shape[0], channels, *pooled), cell, name="roi_align")


def _scaled(corner: Any, scale: float, aligned: bool) -> Any:
    """A corner in pixels of the map; half a pixel was taken off already where ``aligned``."""
    return (corner + 0.5) * scale - 0.5 if aligned else corner * scale


def _bin(
    low: Any, high: Any, at: Any, pooled: int, samples: int, extent: int, aligned: bool
) -> _Bin:
    """Bin number ``at`` of ``pooled`` from ``low`` to ``high``."""
    dtype = low.ty.dtype
    zero = tirx.const(0.0, dtype)
    size = high - low if aligned else te.max(high - low, tirx.const(1.0, dtype))
    length = size / tirx.const(pooled, dtype)
    start = low + tirx.Cast(dtype, at) * length
    if samples > 0:
        return _Bin(start, length, tirx.const(samples, dtype), zero, samples)
    number = te.ceil(length)
    on_map = te.floor((-1.0 - start) * number / length) - _MARGIN // 2
    first = te.max(on_map, zero)  # 0 for what is not a number
    most = tirx.const(2 * (extent + 1) + _MARGIN + 1, dtype)
    visited = te.min(te.max(number - first, tirx.const(1.0, dtype)), most)
    return _Bin(start, length, number, first, visited.astype("int32"))
