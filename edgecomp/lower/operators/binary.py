"""Products of signs with signs: words of 32 signs, exclusive or, counts."""

import numpy as np
import onnx_ir as ir

from edgecomp.graph.binary_products import BinaryProduct
from edgecomp.graph.windows import window_of
from edgecomp.lower.operators.windows import image_pads, pair, window_refusal
from edgecomp.lower.reader import Reader
from edgecomp.plan.elementwise import Elementwise, Step
from edgecomp.plan.finish import Scale
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.quantization import SIGN_BITS, PackSigns
from edgecomp.plan.values import Array, Value


def emit_binary_product(reader: Reader, product: BinaryProduct) -> None:
    """Pack the signs, multiply, add the bias."""
    node = product.node
    x, output = reader.value(product.source), reader.value(node.outputs[0])
    is_image = node.op_type == "Conv"
    axis = 1 if is_image else len(x.shape) - 1
    words = 2 * -(-x.shape[axis] // SIGN_BITS)
    shape = tuple(words if d == axis else size for d, size in enumerate(x.shape))
    nodes = (*reversed(product.inside), node)
    packed = reader.new_value(f"{node.name}.signs", shape, "int32")
    reader.emit(PackSigns(product.test, product.first), [x], [packed], nodes)
    weight = pack_weights(product.negative, 1 if is_image else 0)
    constants = [
        reader.new_constant(f"{node.name}.weight", weight),
        reader.new_constant(f"{node.name}.bias", np.zeros(len(product.scale), np.int32)),
    ]
    result = output
    if product.bias is not None:
        result = reader.new_value(f"{node.name}.product", output.shape, "float32")
    finish = Scale(product.scale)
    if is_image:
        window = window_of(node, x.shape, product.negative.shape[2:])
        kind = Convolution(
            strides=pair(window.strides, 1),
            dilations=pair(window.dilations, 1),
            pads=image_pads(window),
            finish=finish,
        )
        reader.emit(kind, [packed, *constants], [result], nodes)
    else:
        reader.emit(MatrixMultiply(finish=finish), [packed, *constants], [result], nodes)
    if product.bias is not None:
        _add(reader, node, result, product.bias, output, is_image=is_image)


def is_possible(product: BinaryProduct) -> bool:
    """Whether there is an operation for its window."""
    node = product.node
    if node.op_type != "Conv":
        return True
    shape = product.source.shape
    assert shape is not None
    window = window_of(node, tuple(shape.numpy()), product.negative.shape[2:])
    return not window_refusal(window)


def pack_weights(negative: Array, axis: int) -> Array:
    """Signs of weights as words along an axis, each with a 0 behind it, int32."""
    moved = np.moveaxis(negative, axis, -1)
    padding = [(0, 0)] * (moved.ndim - 1) + [(0, -moved.shape[-1] % SIGN_BITS)]
    bits = np.pad(moved, padding).reshape(*moved.shape[:-1], -1, SIGN_BITS)
    packed = (bits.astype(np.uint64) << np.arange(SIGN_BITS, dtype=np.uint64)).sum(axis=-1)
    words = packed.astype(np.uint32).view(np.int32)
    pairs = np.stack([words, np.zeros_like(words)], axis=-1)
    flat = pairs.reshape(*words.shape[:-1], -1)
    return np.ascontiguousarray(np.moveaxis(flat, -1, axis))


def _add(
    reader: Reader, node: ir.Node, x: Value, bias: Array, output: Value, *, is_image: bool
) -> None:
    shaped = bias.reshape(-1, 1, 1) if is_image else bias
    value = reader.new_constant(f"{node.name}.offset", shaped)
    step = Step("Add", (0, 1), "float32")
    reader.emit(Elementwise((step,)), [x, value], [output], [node])
