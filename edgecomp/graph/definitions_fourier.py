"""DFT and STFT as products with a constant matrix.

    DFT(x [.., n, .., 1 or 2])  =>  Transpose, MatMul [n * parts, bins * 2], Transpose

A product costs n * bins instead of n log n multiply-adds: for the frames of a few hundred
samples that speech nets take, it is as fast as a transform and needs no kernel of its own.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.constants import constant_array
from edgecomp.graph.shapes import static_shape

Matrix = npt.NDArray[Any]
#: A matrix has at most this many elements (64 MB): 2048 complex samples.
MOST_ELEMENTS = 1 << 24


def define_dft(node: ir.Node) -> Body | None:
    """DFT with its length known: forward, inverse, one-sided, inverse of one-sided."""
    shape = static_shape(node.inputs[0])
    if shape is None or not all(shape):
        return None
    axis = _axis(node, len(shape))
    inverse = bool(node.attributes.get_int("inverse", 0))
    onesided = bool(node.attributes.get_int("onesided", 0))
    given, parts = shape[axis], shape[-1]
    length = _scalar_input(node, 1)
    if length is None:
        if len(node.inputs) > 1 and node.inputs[1] is not None:
            return None
        length = 2 * (given - 1) if inverse and onesided else given
    if inverse and onesided:
        used, bins = min(given, length // 2 + 1), length
    else:
        used, bins = min(given, length), length // 2 + 1 if onesided else length
    results = 1 if inverse and onesided else 2
    if used * parts * bins * results > MOST_ELEMENTS:
        return None
    if inverse and onesided:
        matrix = _real_inverse(used, parts, length)
    else:
        matrix = _transform(used, parts, bins, length, inverse=inverse)
    body = Body()
    source = body.add("Slice", "i0", *(body.integers(v) for v in (0, used, axis)))
    rank = len(shape)
    order = [d for d in range(rank - 1) if d != axis] + [axis, rank - 1]
    outer = tuple(shape[d] for d in order[:-2])
    moved = body.add("Transpose", source, perm=order)
    rows = body.reshaped(moved, (*outer, used * parts))
    weight = body.add("CastLike", body.constant(matrix.astype(np.float32)), "i0")
    product = body.add("MatMul", rows, weight)
    split = body.reshaped(product, (*outer, bins, results))
    back = [order.index(d) for d in range(rank)]
    body.add("Transpose", split, to="y", perm=back)
    return body


def define_stft(node: ir.Node) -> Body | None:
    """STFT with its step and frame length known: frames, window and transform in one product."""
    shape = static_shape(node.inputs[0])
    step, frame = _scalar_input(node, 1), _scalar_input(node, 3)
    window = node.inputs[2] if len(node.inputs) > 2 else None
    if shape is None or step is None:
        return None
    if frame is None:
        size = static_shape(window)
        frame = size[0] if size else shape[1]
    batch, samples = shape[:2]
    parts = shape[2] if len(shape) > 2 else 1
    bins = frame // 2 + 1 if node.attributes.get_int("onesided", 1) else frame
    if frame > samples or frame * parts * bins * 2 > MOST_ELEMENTS:
        return None
    body = Body()
    frames = 1 + (samples - frame) // step
    places = np.arange(frames)[:, None] * step + np.arange(frame)
    signal = body.reshaped("i0", (batch, samples, parts))
    cut = body.add("Gather", signal, body.constant(places), axis=1)
    if window is not None:
        cut = body.add("Mul", cut, body.reshaped("i2", (frame, 1)))
    rows = body.reshaped(cut, (batch, frames, frame * parts))
    matrix = _transform(frame, parts, bins, frame, inverse=False).astype(np.float32)
    product = body.add("MatMul", rows, body.add("CastLike", body.constant(matrix), "i0"))
    body.reshaped(product, (batch, frames, bins, 2), to="y")
    return body


def _transform(used: int, parts: int, bins: int, length: int, *, inverse: bool) -> Matrix:
    """[used * parts, bins * 2]; a part is the real or the imaginary one."""
    cosine, sine = _waves(used, bins, length)
    if inverse:
        cosine, sine = cosine / length, -sine / length
    # (re + i im) * (cos - i sin)
    real = np.stack([cosine, -sine], axis=-1)
    imaginary = np.stack([sine, cosine], axis=-1)
    matrix = np.stack([real, imaginary], axis=1)[:, :parts]
    return matrix.reshape(used * parts, bins * 2)


def _real_inverse(used: int, parts: int, length: int) -> Matrix:
    """[used * parts, length]: every bin but the first and the middle one stands for two."""
    cosine, sine = _waves(used, length, length)
    weights = np.full((used, 1), 2.0 / length)
    weights[0] = 1.0 / length
    if length % 2 == 0 and used == length // 2 + 1:
        weights[-1] = 1.0 / length
    matrix = np.stack([cosine * weights, -sine * weights], axis=1)[:, :parts]
    return matrix.reshape(used * parts, length)


def _waves(samples: int, bins: int, length: int) -> tuple[Matrix, Matrix]:
    turns = np.outer(np.arange(samples), np.arange(bins)) % length
    angles = 2.0 * math.pi * turns / length
    return np.cos(angles), np.sin(angles)


def _axis(node: ir.Node, rank: int) -> int:
    """An attribute until opset 19, an input since, with another default."""
    if "axis" in node.attributes:
        return node.attributes.get_int("axis", 1) % rank
    given = _scalar_input(node, 2)
    old = node.version is not None and node.version < 20
    return (given if given is not None else 1 if old else -2) % rank


def _scalar_input(node: ir.Node, index: int) -> int | None:
    array = constant_array(node.inputs[index]) if index < len(node.inputs) else None
    return None if array is None or array.size != 1 else int(array.reshape(()))
