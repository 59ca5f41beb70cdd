"""Layer normalisations with a residual addition or embeddings in front of them."""

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.graph.body import Body
from edgecomp.graph.microsoft.call import Call

_EPSILON = 1e-12


def define_skip_layer_normalization(node: ir.Node) -> Body:
    """``LayerNormalization(input + skip + bias)``; the sum is the fourth output."""
    body = Call(node)
    total = _total(body, 4)
    inputs = [total, "i2", "i3"] if body.has(3) else [total, "i2"]
    _layer_norm(body, inputs)
    return body


def define_skip_simplified(node: ir.Node) -> Body:
    """The same without a mean: ``x / sqrt(mean(x^2) + epsilon) * gamma``."""
    body = Call(node)
    total = _total(body, 3)
    _root_mean_square(body, total, "i2", body.number("epsilon", _EPSILON), -1, "y2")
    if body.wants(1):
        body.add("ReduceMean", total, body.integers(-1), keepdims=1, to="y1")
    return body


def define_simplified(node: ir.Node) -> Body | None:
    """SimplifiedLayerNormalization: RMSNormalization, with the inverse deviation beside it."""
    body = Call(node)
    if not body.known(0):
        return None
    axis = body.integer("axis", -1)
    _root_mean_square(body, "i0", "i1", body.number("epsilon", 1e-5), axis, "y1")
    return body


def _root_mean_square(
    body: Call, x: str, scale: str, epsilon: float, axis: int, inverse: str
) -> None:
    """Computed in float32 whatever the element type, as ONNX's stash type has it."""
    rank = len(body.shape(0) or ())
    axes = body.integers(*range(axis % rank, rank)) if axis != -1 else body.integers(-1)
    wide = x
    half = body.dtype(0) != ir.DataType.FLOAT
    if half:
        wide = body.add("Cast", x, to_type=onnx.TensorProto.FLOAT)
    mean = body.add("ReduceMean", body.add("Mul", wide, wide), axes, keepdims=1)
    shifted = body.add("Add", mean, body.constant(np.float32(epsilon)))
    deviation = body.add("Sqrt", shifted)
    normal = body.add("Div", wide, deviation)
    if half:
        normal = body.add("CastLike", normal, x)
    body.add("Mul", normal, scale, to="y")
    index = int(inverse[1:])
    if body.wants(index):
        body.add("Reciprocal", deviation, to=inverse)


def define_embed_layer_normalization(node: ir.Node) -> Body | None:
    """Sum of word, position and segment embeddings, normalised; lengths from the mask."""
    body = Call(node)
    ids = body.shape(0)
    if ids is None:
        return None
    total = body.add("Gather", "i2", "i0", axis=0)
    positions = "i8" if body.has(8) else body.constant(np.arange(ids[1], dtype=np.int64)[None])
    total = body.add("Add", total, body.add("Gather", "i3", positions, axis=0))
    if body.has(1) and body.has(4):
        total = body.add("Add", total, body.add("Gather", "i4", "i1", axis=0))
    if body.wants(2):
        body.add("Identity", total, to="y2")
    _layer_norm(body, [total, "i5", "i6"])
    if not body.wants(1):
        return body
    if body.has(7):
        whole = body.add("Cast", "i7", to_type=onnx.TensorProto.INT32)
        body.add("ReduceSum", whole, body.integers(1), keepdims=0, to="y1")
    else:
        body.add("Identity", body.constant(np.zeros(ids[0], np.int32)), to="y1")
    return body


def _total(body: Call, bias: int) -> str:
    """Input, skip and bias; also the fourth output where that is read."""
    total = body.add("Add", "i0", "i1")
    if body.has(bias):
        total = body.add("Add", total, f"i{bias}")
    if body.wants(3):
        body.add("Identity", total, to="y3")
    return total


def _layer_norm(body: Call, inputs: list[str]) -> None:
    outputs = ["y"]
    if body.node.op_type == "SkipLayerNormalization":
        last = max((index for index in (1, 2) if body.wants(index)), default=0)
        outputs += [f"y{index}" for index in range(1, last + 1)]
    epsilon = body.number("epsilon", _EPSILON)
    body.nodes.append(
        onnx.helper.make_node("LayerNormalization", inputs, outputs, axis=-1, epsilon=epsilon)
    )
