"""Families of operators with dynamic dimensions: functions that add one to a graph."""

import ml_dtypes
import numpy as np

BATCH, LENGTH = 5, 40
RNG = np.random.default_rng(0)


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def x_of(g, *shape, name="x", dtype=np.float32):
    return g.input(name, shape, dtype)


def elementwise(g):
    x, y = x_of(g, "b", "s", 24), x_of(g, 1, "s", 1, name="y")
    return g("Mul", g("Sigmoid", g("Add", x, y)), weights(24))


def mask(g):
    x, keep = x_of(g, "b", 3, "s", "s"), x_of(g, "b", 1, 1, "s", name="keep")
    return g("Softmax", g("Add", x, g("Mul", keep, np.float32(-100))), axis=-1)


def where(g):
    x, y = x_of(g, "b", "s"), x_of(g, "b", "s", name="y")
    return g("Where", g("Greater", x, y), g("Exp", x), y)


def dense(g):
    x = x_of(g, "b", "s", 33)
    hidden = g("Relu", g("Add", g("MatMul", x, weights(33, 70)), weights(70)))
    return g("Add", g("MatMul", hidden, weights(70, 33)), x)


def gemm(g):
    return g("Gemm", x_of(g, "s", 20), weights(37, 20), weights(37), transB=1)


def few_bits(g):
    """Weights of 4 bits with zero points, and of 2 bits without."""
    x = x_of(g, "b", "s", 48)
    numbers = RNG.integers(0, 16, (48, 70)).astype(ml_dtypes.uint4)
    scales = RNG.uniform(0.02, 0.04, (2, 70)).astype(np.float32)
    zeros = RNG.integers(0, 16, (2, 70)).astype(ml_dtypes.uint4)
    up = g("DequantizeLinear", numbers, scales, zeros, axis=0, block_size=32)
    hidden = g("Relu", g("Add", g("MatMul", x, up), weights(70)))
    numbers = RNG.integers(-2, 2, (70, 33)).astype(ml_dtypes.int4)
    down = g("DequantizeLinear", numbers, scales[0, :33], axis=1)
    return g("MatMul", hidden, down)


def scores(g):
    x, y = x_of(g, "b", 2, "s", 20), x_of(g, "b", 2, "s", 20, name="y")
    return g("MatMul", x, g("Transpose", y, perm=[0, 1, 3, 2]))


def weighted(g):
    x, y = x_of(g, "b", 2, "s", "s"), x_of(g, "b", 2, "s", 20, name="y")
    return g("MatMul", x, y)


def broadcast_product(g):
    return g("MatMul", x_of(g, "b", 7, "s"), x_of(g, "s", 5, name="y"))


def layer_norm(g):
    x = x_of(g, "b", "s", 19)
    return g("LayerNormalization", x, weights(19), weights(19), axis=-1)


def root_mean_square(g):
    """Normalisation of rows of dynamic length, and by another one of each of the length."""
    x = x_of(g, "b", "s", 12)
    mean = g("ReduceMean", g("Mul", x, x), np.array([-1]), keepdims=1)
    x = g("Mul", x, g("Reciprocal", g("Sqrt", g("Add", mean, np.float32(1e-5)))))
    mean = g("ReduceMean", g("Pow", x, np.float32(2)), np.array([1]), keepdims=1)
    return g("Mul", g("Div", x, g("Sqrt", mean)), weights(12))


def part_of_table(g):
    """A result that is a part of a constant, of which no two rows lie side by side."""
    length = g("Shape", x_of(g, "b", "s", 12), start=1, end=2)
    return g("Slice", weights(3, LENGTH, 5), np.array([0]), length, np.array([1]))


def layer_norm_of_all(g):
    """Of rows of dynamic length, with a scale for each place."""
    x = g("Flatten", x_of(g, "b", "s", 12))
    size = g("Shape", x, start=1)
    scale, bias = (
        g("Slice", weights(12 * LENGTH), np.array([0]), size, np.array([0])) for _ in range(2)
    )
    return g("LayerNormalization", x, scale, bias, axis=-1)


def mean_over_length(g):
    return g("ReduceMean", x_of(g, "b", "s", 21), np.array([1]), keepdims=0)


def mean_over_last(g):
    return g("ReduceMean", x_of(g, "b", 3, "s"), np.array([2]), keepdims=1)


def maximum_of_all(g):
    return g("ReduceMax", x_of(g, "b", "s", 3), np.array([0, 1]), keepdims=0)


def norm(g):
    return g("ReduceL2", x_of(g, "b", 6, "s"), np.array([1]), keepdims=0)


def log_softmax(g):
    return g("LogSoftmax", x_of(g, "b", "s"), axis=-1)


def embedding(g):
    ids = x_of(g, "b", "s", dtype=np.int64)
    return g("Add", g("Gather", weights(50, 12), ids), weights(1, LENGTH, 12)[:, :1])


def positions(g):
    x = x_of(g, "b", "s", 12)
    length = g("Slice", g("Shape", x), np.array([1]), np.array([2]))
    table = g("Slice", weights(LENGTH, 12), np.array([0]), length, np.array([0]))
    return g("Add", x, table)


def class_token(g):
    """A row in front of those of each of a batch: as often as there are, at most a few."""
    x = x_of(g, "b", "s", 12)
    batch = g("Slice", g("Shape", x), np.array([0]), np.array([1]))
    rows = g("Expand", weights(1, 1, 12), g("Concat", batch, np.array([1, 12]), axis=0))
    return g("Concat", rows, x, axis=1)


def causal(g):
    x = x_of(g, "s", "s")
    lower = np.tril(np.ones((LENGTH, LENGTH), np.float32))
    size = g("Shape", x)
    kept = g("Slice", lower, np.array([0, 0]), size, np.array([0, 1]))
    return g("Mul", x, kept)


def causal_attention(g):
    """A mask of which a run has a part."""
    q, k, v = (x_of(g, "b", 2, "s", 8, name=name) for name in "qkv")
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
    later = np.triu(np.full((LENGTH, LENGTH), -100, np.float32), 1)
    size = g("Shape", scores, start=2)
    hidden = g("Slice", later, np.array([0, 0]), size, np.array([0, 1]))
    return g("MatMul", g("Softmax", g("Add", scores, hidden), axis=-1), v)


def channel_attention(g):
    """Of a fixed number of rows, each as long as a run is."""
    q, k, v = (x_of(g, "b", 2, 6, "s", name=name) for name in "qkv")
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
    return g("MatMul", g("Softmax", scores, axis=-1), v)


def heads(g):
    x = x_of(g, "b", "s", 24)
    split = g("Reshape", x, np.array([0, 0, 4, 6]))
    return g("Transpose", split, perm=[0, 2, 1, 3])


def transpose(g):
    return g("Transpose", x_of(g, "b", "s", 5), perm=[2, 1, 0])


def flatten(g):
    return g("Reshape", x_of(g, "b", "s", 6), np.array([-1, 6]))


def concatenate(g):
    x, y = x_of(g, "b", "s", 4), x_of(g, "b", "s", 3, name="y")
    return g("Concat", x, g("Neg", y), axis=2)


def prepend(g):
    x = x_of(g, "b", "s", 6)
    first = g("ReduceMax", x, np.array([1]), keepdims=1)
    return g("Concat", first, x, axis=1)


def padded(g):
    """Around each of a batch, along the length and along rows."""
    x = x_of(g, "b", "s", 12)
    return g("Pad", x, np.array([0, 2, 1, 0, 1, 3]), np.float32(0.5))


def shifted(g):
    """What lies in front of each: the padding is cut where there is nothing left of it."""
    x = x_of(g, "b", "s", 12)
    before = g("Pad", x, np.array([0, 1, 0, 0, 0, 0]))
    return g("Sub", x, g("Slice", before, np.array([0]), np.array([-1]), np.array([1])))


def last_of(g):
    x = x_of(g, "b", "s", 6)
    return g("Slice", x, np.array([-1]), np.array([10**9]), np.array([1]))


def without_first(g):
    x = x_of(g, "b", "s", 6)
    return g("Slice", x, np.array([1]), np.array([10**9]), np.array([1]))


def every_second(g):
    x = x_of(g, "b", "s", 3)
    return g("Slice", x, np.array([0]), np.array([10**9]), np.array([1]), np.array([2]))


def expand(g):
    x = x_of(g, "b", "s", 1)
    size = g("Concat", g("Shape", x, start=0, end=2), np.array([9]), axis=0)
    return g("Expand", x, size)


def integers(g):
    x, y = x_of(g, "b", "s", dtype=np.int64), x_of(g, "b", "s", name="y", dtype=np.int64)
    return g("Mod", x, g("Add", g("Abs", y), np.int64(1)))


def top_k(g):
    return g("TopK", x_of(g, "b", "s"), np.array([1]), outputs=2)[1]


def gather_nd(g):
    x, places = x_of(g, "b", "s", 3), x_of(g, "s", 1, name="places", dtype=np.int64)
    return g("GatherND", x, g("Clip", places, np.int64(0), np.int64(0)))


def gather_elements(g):
    """Along the middle, of the first few elements behind it; negative indices, too."""
    x = x_of(g, "b", "s", 6)
    places = g("Sub", x_of(g, "b", 4, 5, name="places", dtype=np.int64), np.int64(20))
    places = g("Clip", places, np.int64(-1), np.int64(0))
    return g("GatherElements", x, places, axis=1)


def sorted_rows(g):
    x = x_of(g, "b", "s")
    places = g("TopK", g("Neg", x), g("Shape", x, start=1), outputs=2)[1]
    return g("GatherElements", x, places, axis=-1)


def sorted_batch(g):
    x = x_of(g, "b", "s", 3)
    y = g("TopK", x, g("Shape", x, start=1, end=2), axis=1, outputs=2)[1]
    return g("GatherElements", g("Exp", x), g("Cast", y, to=6), axis=1)


def tile(g):
    return g("Tile", x_of(g, "b", "s", 5), np.array([2, 3, 1]))


def tile_by_size(g):
    """A table for each of a batch, and a row for each step."""
    x = x_of(g, "b", "s", 5)
    times = g("Concat", g("Shape", x, start=0, end=1), np.array([1, 1]), axis=0)
    steps = g("Concat", g("Shape", x, start=1, end=2), np.array([1]), axis=0)
    rows = g("Tile", weights(1, 5), steps)
    return g("Concat", x, g("Tile", g("Unsqueeze", rows, np.array([0])), times), axis=1)


def instance_norm(g):
    x = x_of(g, "b", 6, 7, "s")
    return g("InstanceNormalization", x, weights(6), weights(6), epsilon=1e-3)


def group_norm(g):
    """As torch exports it: groups of channels as instances."""
    x = x_of(g, "b", 6, 3, "s")
    rows = g("Reshape", x, np.array([0, 2, -1]))
    ones, none = np.ones(2, np.float32), np.zeros(2, np.float32)
    y = g("Reshape", g("InstanceNormalization", rows, ones, none), g("Shape", x))
    return g("Add", g("Mul", y, weights(6, 1, 1)), weights(6, 1, 1))


def group_norm_21(g):
    x = x_of(g, "b", 6, 7, "s")
    return g("GroupNormalization", x, weights(6), weights(6), num_groups=3)


def einsum_scores(g):
    q, k = x_of(g, "b", "s", 2, 6), x_of(g, "b", "s", 2, 6, name="k")
    return g("Einsum", q, k, equation="bqhd,bkhd->bhqk")


def einsum_values(g):
    x, v = x_of(g, "b", 2, "s", "s"), x_of(g, "b", "s", 2, 6, name="v")
    return g("Einsum", x, v, equation="bhqk, bkhd -> bqhd")


def einsum_weights(g):
    return g("Einsum", x_of(g, "b", "s", 9), weights(9, 2, 5), equation="...d,dhe->...he")


def einsum_three(g):
    x, y = x_of(g, "b", "s", 5), x_of(g, "b", "s", 3, name="y")
    return g("Einsum", x, y, weights(5, 7), equation="bsi,bsj,ik->bjk")


def einsum_outer(g):
    return g("Einsum", x_of(g, "b", "s"), x_of(g, "b", "s", name="y"), equation="bi,bj->bij")


def gather_middle(g):
    x = x_of(g, "b", "s", 5)
    return g("Gather", x, np.array([[0, -1, 0]]), axis=1)


def gather_from_part(g):
    """From a part of a table, and at a part of the indices, neither of which lies in one piece."""
    x, ids = x_of(g, "b", "s", 4), x_of(g, "b", 3, name="ids", dtype=np.int64)
    size = g("Shape", x, start=1, end=2)

    def cut(table):
        return g("Slice", table, np.array([0]), size, np.array([1]))

    found = g("Gather", cut(weights(40, LENGTH)), ids)
    places = cut(RNG.integers(-4, 4, (2, LENGTH)))
    most = g("ReduceMax", g("Gather", x, places, axis=2), np.array([1, 2]), keepdims=0)
    return g("Add", found, g("Unsqueeze", most, np.array([1])))


def scaled_by_size(g):
    x = x_of(g, "s", 3)
    return g("Mul", x, g("Cast", g("Size", x), to=1))


def convolution(g):
    x = x_of(g, "b", 3, 10, 11)
    y = g("Relu", g("Conv", x, weights(8, 3, 3, 3), weights(8), pads=[1, 1, 1, 1]))
    z = g("Conv", y, weights(8, 1, 3, 3), weights(8), group=8, strides=[2, 2])
    return g("Flatten", g("GlobalAveragePool", g("MaxPool", z, kernel_shape=[2, 2])))


def images(g):
    x = x_of(g, "b", 4, 5, 6)
    y = g("Conv", x, weights(4, 4, 1, 1), weights(4))
    up = g("Resize", y, "", np.array([1, 1, 2, 2], np.float32), mode="nearest")
    return g("Transpose", g("Concat", up, g("Neg", up), axis=1), perm=[0, 2, 3, 1])


FAMILIES = {
    f.__name__: f
    for f in (
        elementwise, mask, where, dense, gemm, few_bits, scores, weighted, broadcast_product,
        layer_norm,
        mean_over_length, mean_over_last, maximum_of_all, norm, log_softmax, embedding, positions,
        class_token,
        causal, causal_attention, channel_attention, heads, transpose, flatten, concatenate,
        prepend, padded, shifted, last_of, without_first, every_second, expand, integers, top_k, gather_nd, gather_elements, sorted_rows, sorted_batch, tile, tile_by_size, instance_norm, group_norm, group_norm_21,
        layer_norm_of_all, root_mean_square, part_of_table,
        einsum_scores, einsum_values, einsum_weights, einsum_three, einsum_outer,
        gather_middle, gather_from_part, scaled_by_size,
        convolution, images,
    )
}  # fmt: skip


def specs_of(proto, batch=BATCH, length=LENGTH):
    bounds = {"b": f"[1..{batch}]", "s": f"[1..{length}]"}
    return [
        f"{value.name}:"
        + "x".join(
            bounds[dim.dim_param] if dim.dim_param else str(dim.dim_value)
            for dim in value.type.tensor_type.shape.dim
        )
        for value in proto.graph.input
    ]


def feeds_of(reference, batch, length, rng):
    sizes = {"b": batch, "s": length}
    feeds = {}
    for port in reference.get_inputs():
        shape = [sizes.get(extent, extent) for extent in port.shape]
        if port.type == "tensor(int64)":
            feeds[port.name] = rng.integers(0, 40, shape)
        else:
            feeds[port.name] = rng.standard_normal(shape).astype(np.float32)
    return feeds
