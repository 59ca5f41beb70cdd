"""Networks on images and sequences of any size: functions that add one to a graph."""

import numpy as np

from helpers.graphs import Graph
from helpers.qdq import QdqGraph

#: Bounds of height, width, batch and length.
BOUNDS = {"h": (9, 40), "w": (11, 70), "b": (1, 3), "s": (1, 40)}
RNG = np.random.default_rng(0)


def weights(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def image(g, channels, batch=1):
    return g.input("x", (batch, channels, "h", "w"), np.float32)


def conv(g, x, inputs, outputs, kernel=1, stride=1, groups=1, dilation=1, pad=None):
    pad = kernel // 2 * dilation if pad is None else pad
    return g(
        "Conv",
        x,
        weights(outputs, inputs // groups, kernel, kernel),
        weights(outputs, 1)[:, 0],
        strides=[stride] * 2,
        pads=[pad] * 4,
        dilations=[dilation] * 2,
        group=groups,
    )


def normalised(g):
    """Instances between convolutions, repeated along both sides."""
    y = conv(g, image(g, 3, "b"), 3, 12, 3)
    y = g("Relu", g("InstanceNormalization", y, weights(12, 1)[:, 0], weights(12, 1)[:, 0]))
    return g("Tile", conv(g, y, 12, 5, 3, 2), np.array([1, 1, 2, 3]))


def stem(g):
    """Strides behind strides, odd and even sizes: quotients of quotients."""
    y = g("Relu", conv(g, image(g, 3), 3, 20, 3, 2))
    y = g("Relu", conv(g, y, 20, 20, 3, 2, groups=20))
    return conv(g, y, 20, 37, 3, 2, pad=0)


def residual(g):
    x = conv(g, image(g, 5, "b"), 5, 24, 3)
    y = g("HardSwish", conv(g, x, 24, 48))
    y = g("Clip", conv(g, y, 48, 48, 5, groups=48), np.float32(0), np.float32(6))
    return g("Add", conv(g, y, 48, 24), x)


def grouped(g):
    y = conv(g, image(g, 12), 12, 18, 3, dilation=2, groups=3)
    return conv(g, g("LeakyRelu", y), 18, 36, 2, 2, groups=18, pad=0)


def pools(g):
    x = image(g, 19)
    y = g("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = g("AveragePool", y, kernel_shape=[3, 2], pads=[1, 1, 1, 0])
    return g("AveragePool", y, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)


def squeeze_excite(g):
    x = conv(g, image(g, 3), 3, 21, 3, 2)
    scale = conv(g, g("Relu", conv(g, g("GlobalAveragePool", x), 21, 8)), 8, 21)
    y = g("Mul", x, g("Sigmoid", scale))
    return g("Flatten", g("GlobalMaxPool", conv(g, y, 21, 33)))


def pyramid(g):
    """Twice the half of an even size is the size, of an odd one it is cut."""
    x = conv(g, image(g, 4), 4, 16, 3)
    half = conv(g, x, 16, 16, 3, 2)
    up = g("Resize", half, "", np.array([1, 1, 2, 2], np.float32), mode="linear")
    scales = np.array([1, 1, 3, 2], np.float32)
    form = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return g("Resize", conv(g, up, 16, 7, 3), "", scales, mode="nearest", **form)


def unpadded(g):
    """Pixels in a number of which the bound term by term is too high, as rows of all kinds."""
    y = conv(g, conv(g, image(g, 3, "b"), 3, 12, 3, pad=0), 12, 20)
    y = g("Transpose", y, perm=[0, 2, 3, 1])
    y = g("LayerNormalization", y, weights(20, 1)[:, 0], weights(20, 1)[:, 0], axis=-1)
    return g("MatMul", y, weights(20, 9))


def margins(g):
    """Padding far wider than the window, in front of a window that reads a halo."""
    y = conv(g, image(g, 3), 3, 8, 7, 3, pad=9)
    return conv(g, g("Relu", y), 8, 8, 3)


def pillars(g):
    """A column of pixels is a window that no padding moves, as far apart as the image is wide."""
    y = g("Relu", conv(g, image(g, 3), 3, 16, 1))
    return g("Conv", y, weights(24, 16, 3, 1), weights(24, 1)[:, 0])


def corner(g):
    """One pixel of an image of any size: images lie as far apart as they are large."""
    x = conv(g, image(g, 3, "b"), 3, 8, 3)
    return conv(g, x, 8, 12, 3, 128)


def columns(g):
    """An image whose columns become a sequence, as in text recognition."""
    y = g("Relu", conv(g, image(g, 3), 3, 16, 3, 2))
    y = g("ReduceMean", y, np.array([2]), keepdims=0)
    y = g("Transpose", y, perm=[0, 2, 1])
    return g("Softmax", g("Add", g("MatMul", y, weights(16, 30)), weights(30, 1)[:, 0]))


def length(g):
    """One dimension: audio."""
    x = g.input("x", ("b", 2, "s"), np.float32)
    y = g("Relu", g("Conv", x, weights(16, 2, 5), weights(16, 1)[:, 0], pads=[2, 2]))
    y = g("Conv", y, weights(16, 1, 3), strides=[2], pads=[1, 1], group=16)
    return g("Conv", y, weights(9, 16, 1))


def lstm(g):
    x = g.input("x", ("s", "b", 6), np.float32)
    y, h = g("LSTM", x, weights(2, 40, 6), weights(2, 40, 10), weights(2, 80), outputs=2,
             hidden_size=10, direction="bidirectional")  # fmt: skip
    last = g("ReduceSum", h, np.array([0]), keepdims=0)
    return g("Add", g("ReduceSum", y, np.array([1]), keepdims=0), last)


def gru(g):
    x = g.input("x", ("s", "b", 6), np.float32)
    return g("GRU", x, weights(1, 30, 6), weights(1, 30, 10), weights(1, 60),
             outputs=2, hidden_size=10, linear_before_reset=1)[0]  # fmt: skip


def totals(g):
    x = g.input("x", ("b", "s", 5), np.float32)
    return g("CumSum", x, np.int64(1), reverse=1)


FAMILIES = {
    f.__name__: f
    for f in (
        normalised, stem, residual, grouped, pools, squeeze_excite, pyramid, unpadded, margins, pillars,
        corner,
        columns, length,
        lstm, gru, totals,
    )
}  # fmt: skip

#: Kernel, stride, dilation, pads, groups, input and output channels.
INTEGERS = {
    "pointwise": (1, 1, 1, 0, 1, 24, 40),
    "dense": (3, 1, 1, 1, 1, 16, 24),
    "strided": (3, 2, 1, 1, 1, 3, 20),
    "dilated groups": (3, 1, 2, 2, 2, 16, 24),
    "depthwise": (3, 1, 1, 1, 40, 40, 40),
    "strided depthwise": (5, 2, 1, 2, 24, 24, 24),
}


def integer_network(g, form):
    """A convolution, what reads a halo, a sum and a mean in 8 bits."""
    kernel, stride, dilation, pad, groups, inputs, outputs = form
    x = g.stored("x", (1, inputs, "h", "w"), 0.05, 120)
    weight = g.weight(
        RNG.integers(-127, 128, (outputs, inputs // groups, kernel, kernel)), 0.01
    )
    bias = g.bias(RNG.integers(-999, 999, outputs), 0.05 * 0.01)
    y = g(
        "Conv", x, weight, bias,
        strides=[stride] * 2, pads=[pad] * 4, dilations=[dilation] * 2, group=groups,
    )  # fmt: skip
    y = g.dequantize(g.quantize(y, 0.1, 128), 0.1, 128)
    pooled = g("MaxPool", y, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    z = g("Add", y, g.dequantize(g.quantize(pooled, 0.1, 128), 0.1, 128))
    z = g.dequantize(g.quantize(z, 0.2, 100), 0.2, 100)
    mean = g.quantize(g("GlobalAveragePool", z), 0.07, 90)
    return g.dequantize(mean, 0.07, 90), z


def pixel_network(g):
    """Two 1x1 convolutions of images without a halo: their pixels are the rows of a product."""

    def conv(x, inputs, outputs, scale):
        weight = g.weight(RNG.integers(-127, 128, (outputs, inputs, 1, 1)), 0.01)
        bias = g.bias(RNG.integers(-999, 999, outputs), scale * 0.01)
        return g.dequantize(g.quantize(g("Conv", x, weight, bias), 0.1, 128), 0.1, 128)

    x = g.stored("x", ("b", 24, "h", "w"), 0.05, 120)
    return conv(conv(x, 24, 40, 0.05), 40, 32, 0.1)


def mean_network(g):
    """8-bit means along rows, down columns, of images and of a batch's."""
    x = g.stored("x", ("b", 6, "h", "w"), 0.05, 120)
    for axes, scale, zero in (
        ([3], 0.03, 99),
        ([2], 0.04, 7),
        ([2, 3], 0.011, 140),
        ([0, 1], 0.02, 0),
    ):
        mean = g("ReduceMean", x, np.array(axes), keepdims=int(len(axes) == 1))
        yield g.dequantize(g.quantize(mean, scale, zero), scale, zero)


def specs_of(proto):
    texts = []
    for value in proto.graph.input:
        dims = []
        for dim in value.type.tensor_type.shape.dim:
            low, high = BOUNDS.get(dim.dim_param, (0, 0))
            dims.append(f"[{low}..{high}]" if dim.dim_param else str(dim.dim_value))
        texts.append(f"{value.name}:{'x'.join(dims)}")
    return texts


def proto_of(family):
    graph = Graph()
    return graph.proto(family(graph))


def pixel_proto():
    graph = QdqGraph()
    return graph.proto(pixel_network(graph))


def mean_proto():
    graph = QdqGraph()
    return graph.proto(*mean_network(graph))


def integer_proto(form):
    graph = QdqGraph()
    return graph.proto(*integer_network(graph, form))


def shape_of(proto, sizes):
    (value,) = proto.graph.input
    dims = value.type.tensor_type.shape.dim
    return [sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in dims]


SMALLEST, LARGEST = ({name: ends[k] for name, ends in BOUNDS.items()} for k in (0, 1))
