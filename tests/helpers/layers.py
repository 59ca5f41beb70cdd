"""Layers of real networks as small ONNX models, for what is said about the kernels of each.

Each block stands for a part of a network people deploy, at that network's sizes: fusion, layout
and the choice of schedules see what they would see there. Weights are seeded.
"""

import functools

import numpy as np

from edgecomp.calibrate.ranges import Range
from edgecomp.compress.grid import WeightForm
from edgecomp.compress.round_to_nearest import round_to_nearest
from edgecomp.graph.packed_weights import weight_matrix
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.pipeline import float_passes, run_passes
from edgecomp.passes.quantization_options import InsertQdqOptions
from helpers.graphs import Graph, normal

PRECISIONS = ("float", "int8")
FOUR_BITS = ("int4", "int4 groups")


class Layers(Graph):
    """A graph of layers, each with seeded weights of ordinary size."""

    def __init__(self):
        super().__init__()
        self.rng = np.random.default_rng(0)
        self.channels = {}

    def image(self, channels, height, width=None):
        name = self.input("x", (1, channels, height, width or height))
        self.channels[name] = channels
        return name

    def conv(self, x, channels, kernel=1, stride=1, groups=1, act=None):
        """Convolution that keeps the size but for its stride, then an activation."""
        size = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        fan = self.channels[x] // groups * size[0] * size[1]
        weight = normal(self.rng, channels, self.channels[x] // groups, *size)
        pads = [s // 2 for s in size] * 2
        y = self(
            *("Conv", x, weight / np.float32(fan**0.5), normal(self.rng, channels)),
            pads=pads,
            strides=[stride, stride],
            group=groups,
        )
        return self.act(act, y, channels)

    def depthwise(self, x, kernel=3, stride=1, act=None):
        return self.conv(x, self.channels[x], kernel, stride, self.channels[x], act)

    def act(self, name, x, channels):
        if name == "relu6":
            x = self("Clip", x, np.float32(0), np.float32(6))
        elif name == "silu":
            x = self("Mul", x, self("Sigmoid", x))
        elif name:
            x = self(name, x)
        self.channels[x] = channels
        return x

    def add(self, a, b, act=None):
        return self.act(act, self("Add", a, b), self.channels[a])

    def pool(self, x, operator="MaxPool", kernel=3, stride=2):
        pads = [kernel // 2] * 4
        y = self(operator, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        return self.act(None, y, self.channels[x])

    def mean(self, x):
        axes = np.array([2, 3], np.int64)
        return self.act(None, self("ReduceMean", x, axes, keepdims=1), self.channels[x])

    def linear(self, x, inputs, outputs, act=None):
        weight = normal(self.rng, inputs, outputs) / np.float32(inputs**0.5)
        return self.act(
            act, self("Add", self("MatMul", x, weight), normal(self.rng, outputs)), 0
        )

    def norm(self, x, width):
        return self("LayerNormalization", x, normal(self.rng, width), normal(self.rng, width))

    def heads(self, x, tokens, heads, size, perm=(0, 2, 1, 3)):
        shape = np.array([1, tokens, heads, size], np.int64)
        return self("Transpose", self("Reshape", x, shape), perm=list(perm))


def first_layers(g):
    """The start of MobileNetV2."""
    x = g.conv(g.image(3, 224), 32, 3, 2, act="relu6")
    return [g.conv(g.depthwise(x, act="relu6"), 16)]


def inverted_residual(g):
    """MobileNetV2 at 56 x 56, then down by 5 x 5 as EfficientNet does."""
    x = g.image(24, 56)
    y = g.conv(g.depthwise(g.conv(x, 144, act="relu6"), act="relu6"), 24)
    return [g.depthwise(g.add(x, y), 5, 2, act="relu6")]


def last_layers(g):
    """The end of MobileNetV2: 7 x 7, the mean, the classes."""
    x = g.mean(g.conv(g.image(320, 7), 1280, act="relu6"))
    x = g("Reshape", x, np.array([1, 1280], np.int64))
    return [g.linear(x, 1280, 1000)]


def bottleneck(g):
    """ResNet-50 at 56 x 56."""
    x = g.image(256, 56)
    y = g.conv(g.conv(x, 64, act="Relu"), 64, 3, act="Relu")
    return [g.add(x, g.conv(y, 256), act="Relu")]


def deep_bottleneck(g):
    """ResNet-50 at 14 x 14, and the way down to 7 x 7."""
    return [g.conv(g.conv(g.image(256, 14), 256, 3, act="Relu"), 512, 3, 2, act="Relu")]


def encoder(g, tokens=128, width=384, heads=12):
    """A layer of MiniLM with one product for all that attention reads."""
    x, size = g.input("x", (1, tokens, width)), width // heads
    parts = g("Split", g.linear(x, width, 3 * width), axis=-1, outputs=3, num_outputs=3)
    q, v = (g.heads(each, tokens, heads, size) for each in parts[::2])
    k = g.heads(parts[1], tokens, heads, size, (0, 2, 3, 1))
    scale = np.float32(size**-0.5)
    a = g("Softmax", g("Mul", g("MatMul", q, k), scale), axis=-1)
    a = g("Transpose", g("MatMul", a, v), perm=[0, 2, 1, 3])
    a = g("Reshape", a, np.array([1, tokens, width], np.int64))
    x = g.norm(g("Add", x, g.linear(a, width, width)), width)
    return [g.linear(g.linear(x, width, 4 * width, act="Gelu"), 4 * width, width)]


def squeeze_excite(g):
    """A block of MobileNetV3."""
    x = g.depthwise(g.image(240, 14), 5, act="HardSwish")
    y = g.conv(g.conv(g.mean(x), 64, act="Relu"), 240, act="HardSigmoid")
    return [g("Mul", x, y)]


def neck(g):
    """A detector: groups, SiLU, a pool that keeps the size, twice the size, joined channels."""
    x = g.conv(g.image(96, 16), 64, 3, groups=4, act="silu")
    sizes = np.array([1, 1, 2, 2], np.float32)
    place = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    up = g("Resize", g.pool(x, kernel=5, stride=1), "", sizes, mode="nearest", **place)
    wide = g.input("wide", (1, 32, 32, 32))
    joined = g.act(None, g("Concat", up, wide, axis=1), 96)
    return [g.conv(joined, 85)]


def odd_sizes(g):
    """One channel at first, then what no vector divides."""
    x = g.conv(g.image(1, 13, 7), 37, (9, 3), 2, act="Relu")
    return [g.conv(g.depthwise(g.conv(x, 83, 3, act="LeakyRelu")), 61)]


def encoded_positions(g):
    """Twins at 28 x 28: a depthwise convolution, added to what it reads."""
    x = g.image(128, 28)
    return [g.conv(g.add(x, g.depthwise(x)), 128)]


def products_of_one_row(g):
    """What a language model's layer multiplies for one token."""
    x = g.input("x", (1, 384))
    return [g.linear(g.linear(x, 384, 1536, act="Relu"), 1536, 384)]


def products_of_rows(g):
    """The same for a prompt."""
    x = g.input("x", (64, 384))
    return [g.linear(g.linear(x, 384, 1536, act="Relu"), 1536, 384)]


#: Block -> precisions; int8 where it has kernels of its own.
BLOCKS = {
    first_layers: PRECISIONS,
    inverted_residual: PRECISIONS,
    last_layers: PRECISIONS,
    bottleneck: PRECISIONS,
    deep_bottleneck: PRECISIONS,
    encoder: PRECISIONS,
    squeeze_excite: PRECISIONS,
    neck: ("float",),
    odd_sizes: PRECISIONS,
    encoded_positions: ("int8",),
    products_of_one_row: FOUR_BITS,
    products_of_rows: FOUR_BITS,
}


@functools.cache
def block_model(block, precision):
    """The portable model of a block."""
    if precision == "float":
        graph = Layers()
        model = graph.model(*block(graph))
        run_passes(model, float_passes(strip=False))
        return model
    model = block_model(block, "float").clone()
    run_passes(model, [InsertQdqPass(_ranges(model), _weights(model, precision))])
    return model


def _weights(model, precision):
    """8-bit weights, 4-bit ones, or those with scales of groups."""
    if precision == "int8":
        return InsertQdqOptions()
    products = {node.name: node for node in model.graph if node.op_type in ("MatMul", "Gemm")}
    form = WeightForm(bits=4, group=32, multiples=15)
    grouped = {
        name: round_to_nearest(weight_matrix(node).astype(np.float64), form)
        for name, node in products.items()
    }
    return InsertQdqOptions(
        four_bits=frozenset(products), grouped=grouped if precision == "int4 groups" else {}
    )


def _ranges(model):
    """Fixed ranges: nothing here depends on how a calibration rounds."""
    found = {}
    for value in (*model.graph.inputs, *(v for n in model.graph for v in n.outputs)):
        producer = value.producer()
        positive = producer is not None and producer.op_type in ("Relu", "Clip")
        found[value.name] = Range(0.0 if positive else -6.0, 6.0)
    return found
