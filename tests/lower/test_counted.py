"""Dimensions that the data decides: any count, against onnxruntime."""

import hypothesis
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.dynamic import dynamic_plan, link
from helpers.graphs import Graph
from hypothesis import strategies

from edgecomp.errors import Code, EdgecompError

RNG = np.random.default_rng(0)
FLAT = np.array([-1])


def weights(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def positive(g, x):
    return g("Greater", x, np.float32(0))


def part(g, x, begin, end, axis):
    return g("Slice", x, np.array([begin]), np.array([end]), np.array([axis]))


def column(g, x, number):
    return part(g, x, number, number + 1, 1)


# Each gives its outputs for a graph whose inputs it makes.


def non_zero(g):
    return (g("NonZero", g.input("x", (3, 4, 5))),)


def non_zero_of_types(g):
    x = g.input("x", (9,))
    return tuple(
        g("NonZero", g("Cast", x, to=kind))
        for kind in (
            onnx.TensorProto.BOOL,
            onnx.TensorProto.UINT8,
            onnx.TensorProto.INT64,
            onnx.TensorProto.INT32,
        )
    )


def masked(g):
    x = g.input("x", (6, 7))
    places = g("Transpose", g("NonZero", positive(g, x)), perm=[1, 0])
    kept = g("GatherND", x, places)
    return g("Sigmoid", g("Mul", kept, np.float32(3))), g("Cast", kept, to=7), places


def rows(g):
    x = g.input("x", (8, 6))
    keep = positive(g, g("ReduceMax", x, np.array([1]), keepdims=0))
    index = g("Squeeze", g("NonZero", keep), np.array([0]))
    y = g("Gather", x, index, axis=0)
    dense = g("Relu", g("Add", g("MatMul", y, weights(6, 10)), weights(10)))
    return y, dense, g("Softmax", dense, axis=-1), g("Transpose", y, perm=[1, 0])


def compressed(g):
    x = g.input("x", (5, 6))
    keep = g("Squeeze", positive(g, part(g, x, 0, 1, 1)), np.array([1]))
    y = g("Compress", x, keep, axis=0)
    z = g("Add", g("Mul", y, np.float32(2)), weights(6))
    total = g("ReduceSum", z, np.array([0]), keepdims=0)
    return z, total, g("Compress", x, g("Reshape", positive(g, x), FLAT)), column(g, z, 2)


def concatenated(g):
    x = g.input("x", (4, 6))
    places = g("Transpose", g("NonZero", positive(g, x)), perm=[1, 0])
    both = g("Concat", places, np.array([[7, 8]]), places, axis=0)
    return both, g("Reshape", both, FLAT), g("Shape", both)


def numbers(g):
    x = g.input("x", (5, 5))
    y = g("Compress", x, g("Reshape", positive(g, x), FLAT))
    size = g("Size", y)
    mean = g(
        "Div", g("ReduceSum", y, np.array([0])), g("Cast", g("Add", size, np.int64(1)), to=1)
    )
    return size, mean, g("Mul", y, g("Cast", size, to=1))


def first_few(g):
    """Fewer where there are fewer."""
    x = g.input("x", (30,))
    y = g("Compress", x, positive(g, x))
    few = part(g, y, 0, 10, 0)
    return few, g("Neg", few), part(g, y, 1, 10**9, 0)


def attended(g):
    x = g.input("x", (9, 8))
    keep = positive(g, g("ReduceMax", x, np.array([1]), keepdims=0))
    y = g("Gather", x, g("Squeeze", g("NonZero", keep), np.array([0])), axis=0)
    scores = g("Softmax", g("MatMul", y, g("Transpose", y, perm=[1, 0])), axis=-1)
    return g("MatMul", scores, y), g("LayerNormalization", y, weights(8), weights(8))


def two_counts(g):
    x = g.input("x", (6, 4))
    above = g("Compress", x, g("Reshape", positive(g, x), FLAT))
    below = g("Compress", x, g("Reshape", g("Less", x, np.float32(0)), FLAT))
    table = g(
        "Mul", g("Unsqueeze", above, np.array([1])), g("Unsqueeze", below, np.array([0]))
    )
    return table, g("Concat", above, below, axis=0)


def same_mask(g):
    """The mask of two selections, computed twice: one count."""
    x, y = g.input("x", (7, 3)), g.input("y", (7, 5))

    def keep():
        return positive(g, g("ReduceMax", x, np.array([1]), keepdims=0))

    left = g("Compress", x, keep(), axis=0)
    places = g("Transpose", g("NonZero", keep()), perm=[1, 0])
    right = g("GatherND", y, places)
    return g("Concat", left, right, axis=1), g(
        "MatMul", g("Transpose", left, perm=[1, 0]), right
    )


def of_counted(g):
    """A count of what was counted."""
    x = g.input("x", (12,))
    y = g("Compress", x, positive(g, x))
    large = g("Greater", y, np.float32(1))
    return y, g("Compress", y, large), g("NonZero", large)


def unique(g):
    x = g("Round", g("Mul", g.input("x", (4, 5)), np.float32(2)))
    return (*g("Unique", x, outputs=4), *g("Unique", x, outputs=4, sorted=0))


def unique_slices(g):
    x = g("Cast", positive(g, g.input("x", (9, 2, 2))), to=onnx.TensorProto.INT64)
    return (
        *g("Unique", x, outputs=4, axis=0),
        *g("Unique", x, outputs=4, axis=0, sorted=0),
        g("Unique", g("Transpose", x, perm=[1, 0, 2]), axis=-2),
    )


def given_k(g):
    x = g.input("x", (5, 11))
    count = g("ReduceSum", g("Cast", positive(g, x), to=7), np.array([0, 1]), keepdims=0)
    k = g("Reshape", g("Min", count, np.int64(11)), np.array([1]))
    values, indices = g("TopK", x, k, outputs=2)
    down = g("TopK", x, g("Min", k, np.array([5])), outputs=2, axis=0, largest=0)
    return values, indices, *down, g("Exp", values)


def top_of_counted(g):
    x = g.input("x", (20,))
    y = g("Compress", x, positive(g, x))
    k = g("Min", g("Shape", y), np.array([6]))
    values, indices = g("TopK", y, k, outputs=2)
    return values, indices, g("Gather", y, indices)


def sliced(g):
    x = g.input("x", (3, 9, 2))
    count = g("ReduceSum", g("Cast", positive(g, x), to=7), np.array([0, 1, 2]), keepdims=0)
    at = g("Reshape", g("Sub", count, np.int64(20)), np.array([1]))
    axis = np.array([1])
    back = np.array([-10])
    return (
        g("Slice", x, np.array([0]), at, axis),
        g("Slice", x, at, np.array([10**9]), axis),
        g("Slice", x, at, back, axis, np.array([-2])),
        g("Neg", g("Slice", x, np.array([1]), at, axis, np.array([3]))),
    )


def ranges(g):
    x = g.input("x", (6, 6))
    count = g("ReduceSum", g("Cast", positive(g, x), to=7), np.array([0, 1]), keepdims=0)
    up = g("Range", np.int64(3), count, np.int64(2))
    down = g("Range", np.int64(30), count, np.int64(-1))
    real = g("Range", np.float32(0.5), g("Cast", count, to=1), np.float32(0.75))
    return up, down, real, g("Mul", up, np.int64(2))


def crops(g):
    """Images that are chosen, through a network."""
    x, images = g.input("x", (6,)), g.input("images", (6, 3, 9, 8))
    chosen = g("Gather", images, g("Reshape", g("NonZero", positive(g, x)), FLAT), axis=0)
    y = g("Relu", g("Conv", chosen, weights(8, 3, 3, 3), weights(8), pads=[1, 1, 1, 1]))
    z = g(
        "Conv", g("MaxPool", y, kernel_shape=[2, 2]), weights(8, 1, 3, 3), weights(8), group=8
    )
    flat = g("Flatten", g("GlobalAveragePool", z))
    dense = g("Gemm", flat, weights(5, 8), weights(5), transB=1)
    return g("Softmax", dense, axis=-1), g("ReduceMean", y, np.array([2, 3]), keepdims=0)


def pairs(g):
    """Overlaps of all with all, as post-processing in the graph does it."""
    x, boxes = g.input("x", (9,)), g.input("boxes", (9, 2))
    y = g("Compress", boxes, positive(g, x), axis=0)
    low, high = part(g, y, 0, 1, 1), part(g, y, 1, 2, 1)
    across = g("Transpose", low, perm=[1, 0]), g("Transpose", high, perm=[1, 0])
    common = g("Sub", g("Min", high, across[1]), g("Max", low, across[0]))
    most = g("ReduceSum", g("Relu", common), np.array([1]), keepdims=0)
    return common, most, g("Where", g("Greater", common, np.float32(0)), common, low)


def detector(g, *, centered=0):
    boxes, scores = g.input("boxes", (2, 24, 4)), g.input("x", (2, 3, 24))
    found = g(
        "NonMaxSuppression", boxes, scores, np.array([6]), np.array([0.4], np.float32),
        np.array([0], np.float32), center_point_box=centered,
    )  # fmt: skip
    where = g("Concat", column(g, found, 0), column(g, found, 2), axis=1)
    score = g("Unsqueeze", g("GatherND", scores, found), np.array([1]))
    label = g("Cast", column(g, found, 1), to=1)
    rows = g("Concat", g("GatherND", boxes, where), score, label, axis=1)
    return rows, found, g("Shape", found, start=0, end=1)


def detector_of_centers(g):
    return detector(g, centered=1)


FAMILIES = {
    f.__name__: f
    for f in (
        non_zero, non_zero_of_types, masked, rows, compressed, concatenated, numbers, first_few,
        attended, two_counts, same_mask, of_counted, unique, unique_slices, given_k, top_of_counted, sliced,
        ranges, crops, pairs, detector, detector_of_centers,
    )
}  # fmt: skip


def proto_of(family):
    graph = Graph()
    return graph.proto(*family(graph))


def bounds_of(name, proto):
    """Bounds of ranges, which no shape gives."""
    if name != "ranges":
        return ()
    found = [node.output[0] for node in proto.graph.node if node.op_type == "Range"]
    return [f"{value}_0:[0..60]" for value in found]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    protos = {name: proto_of(family) for name, family in FAMILIES.items()}
    plans = [
        dynamic_plan(proto, (), name, bounds=bounds_of(name, proto))
        for name, proto in protos.items()
    ]
    open_model = link(plans, tmp_path_factory.mktemp("counted"))
    sessions = {name: open_model(name, threads=2) for name in protos}
    yield {
        name: (session, onnxruntime.InferenceSession(protos[name].SerializeToString()))
        for name, session in sessions.items()
    }
    for session in sessions.values():
        session.close()


def feeds_of(reference, share, rng):
    """Inputs of which about this share is positive: all of them at 1, none at 0."""
    feeds = {}
    for port in reference.get_inputs():
        values = np.abs(rng.standard_normal(port.shape)).astype(np.float32) + np.float32(0.01)
        if port.name == "x":
            values *= np.where(rng.random(port.shape) < share, 1, -1).astype(np.float32)
        feeds[port.name] = values
    return feeds


def check(models, family, feeds):
    session, reference = models[family]
    expected = reference.run(None, feeds)
    for found, wanted in zip(session.run(feeds).values(), expected, strict=True):
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        if found.dtype.kind == "f":
            np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)
        else:
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("family", FAMILIES)
@hypothesis.given(share=strategies.floats(0, 1), seed=...)
@hypothesis.example(share=0.0, seed=0)
@hypothesis.example(share=1.0, seed=0)
@hypothesis.example(share=0.05, seed=1)
@hypothesis.settings(max_examples=40, deadline=None)
def test_family(models, family, share: float, seed: int):
    rng = np.random.default_rng(abs(seed))
    check(models, family, feeds_of(models[family][1], share, rng))


def refused(session, feeds):
    with pytest.raises(EdgecompError, match="makes dimension") as caught:
        session.run(feeds)
    assert caught.value.code is Code.INPUT_MISMATCH
    assert "--bound" in caught.value.hint


def more_than_bounds(g):
    """Six dimensions, each with less room than it may need."""
    x = g.input("x", (4, 8))
    count = g("ReduceSum", g("Cast", positive(g, x), to=7), np.array([0, 1]), keepdims=0)
    one = g("Reshape", g("Min", count, np.int64(8)), np.array([1]))
    rounded = g("Cast", g("Mul", x, np.float32(100)), to=7)
    boxes = g(
        "Reshape", g("Concat", x, g("Add", x, np.float32(1)), axis=1), np.array([1, 16, 4])
    )
    scores = g("Reshape", x, np.array([1, 2, 16]))
    chosen = g(
        "NonMaxSuppression", boxes, scores, np.array([9]), np.array([1], np.float32),
        np.array([0], np.float32),
    )  # fmt: skip
    return (
        g("NonZero", positive(g, x)),
        chosen,
        g("Unique", rounded),
        g("TopK", x, one, outputs=2)[0],
        g("Range", np.int64(0), count, np.int64(1)),
        g("Slice", x, np.array([0]), one, np.array([1])),
    )


def test_counts_out_of_bounds(tmp_path):
    """An error of the run and nothing else, one dimension after the other."""
    proto = proto_of(more_than_bounds)
    places = dict(zip((v.name for v in proto.graph.output), (1, 0, 0, 1, 0, 1), strict=True))
    names = [f"{name}_{d}" for name, d in places.items()]
    sixty = dict.fromkeys(names, 60)
    plans = [
        dynamic_plan(
            proto, (), f"m{k}", bounds=[f"{n}:[0..{most}]" for n, most in own.items()]
        )
        for k, own in enumerate([sixty, *({**sixty, name: 3} for name in names)])
    ]
    open_model = link(plans, tmp_path)
    rng = np.random.default_rng(0)
    few = np.full((4, 8), -1, np.float32)
    few[1, 2:4] = 0.5
    many = np.abs(rng.standard_normal((4, 8))).astype(np.float32) + 0.01
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    for k in range(len(plans)):
        with open_model(f"m{k}", threads=2) as session:
            for feeds in ({"x": few}, {"x": many}, {"x": few}):
                if k and feeds["x"] is many:
                    refused(session, feeds)
                    continue
                expected = reference.run(None, feeds)
                for found, wanted in zip(session.run(feeds).values(), expected, strict=True):
                    np.testing.assert_array_equal(found, wanted)


def of_nothing(g):
    """Counts that are 0 whatever the data: of no elements, and of boxes without a limit."""
    x = part(g, g.input("x", (4, 6)), 2, 2, 0)
    k, begin, end = (g.input(name, (1,), np.int64) for name in ("k", "begin", "end"))
    boxes = g("NonMaxSuppression", g.input("b", (1, 5, 4)), g.input("c", (1, 2, 5)))
    _, places = g("TopK", x, k, axis=0, outputs=2)
    _, _, back = g("Unique", x, outputs=3)
    return g("NonZero", x), places, back, g("Slice", x, begin, end), boxes


def test_counts_that_are_always_0():
    graph = Graph()
    plan = dynamic_plan(graph.proto(*of_nothing(graph)), ())
    assert [port.shape for port in plan.outputs] == [(2, 0), (0, 6), (0,), (0, 6), (0, 3)]
    assert [port.dtype for port in plan.outputs] == ["int64"] * 3 + ["float32", "int64"]
    assert not plan.symbols


def test_a_count_within_what_is_counted_that_is_always_0():
    g = Graph()
    none = part(g, g("NonZero", g.input("x", (4, 6))), 2, 2, 0)
    with pytest.raises(EdgecompError, match="never has an element") as caught:
        dynamic_plan(g.proto(g("NonZero", none)), ())
    assert caught.value.code is Code.DIMENSION_FREE


def test_beside_dynamic_dimensions(tmp_path):
    """Sizes of inputs and sizes that the data decides in one model."""
    g = Graph()
    x = g.input("x", ("b", 6))
    y = g("Compress", x, g("Reshape", positive(g, x), FLAT))
    keep = positive(g, g("ReduceMax", x, np.array([1]), keepdims=0))
    proto = g.proto(
        y, g("Compress", x, keep, axis=0), g("Concat", g("Shape", x), g("Shape", y), axis=0)
    )
    plan = dynamic_plan(proto, ["x:[1..9]x6"])
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    rng = np.random.default_rng(0)
    with link([plan], tmp_path)("model") as session:
        for batch in (9, 1, 4, 2, 9):
            feeds = {"x": rng.standard_normal((batch, 6)).astype(np.float32)}
            expected = reference.run(None, feeds)
            for found, wanted in zip(session.run(feeds).values(), expected, strict=True):
                np.testing.assert_array_equal(found, wanted)


def branches(g, x):
    """An If beside the rest."""
    values = [onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, [3, 4])]
    bodies = {
        f"{side}_branch": onnx.helper.make_graph(
            [onnx.helper.make_node(operator, [x], ["r"], f"{side}_{operator}")],
            side,
            [],
            values,
        )
        for side, operator in (("then", "Neg"), ("else", "Exp"))
    }
    flag = g("Greater", g("ReduceSum", x, keepdims=0), np.float32(0))
    return g("If", flag, **bodies)


def test_beside_a_branch(tmp_path):
    g = Graph()
    x = g.input("x", (3, 4))
    y = g("NonZero", positive(g, x))
    z = branches(g, x)
    last = g("Size", g("NonZero", positive(g, z)))
    proto = g.proto(y, z, last)
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    rng = np.random.default_rng(0)
    with link([dynamic_plan(proto, ())], tmp_path)("model") as session:
        for shift in (0, 1, -1, 9, -9):
            feeds = {"x": rng.standard_normal((3, 4)).astype(np.float32) + np.float32(shift)}
            expected = reference.run(None, feeds)
            for found, wanted in zip(session.run(feeds).values(), expected, strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_not_in_a_branch():
    g = Graph()
    x = g.input("x", (4,))
    inner = onnx.helper.make_node("NonZero", ["x"], ["inner"], "search")
    value = onnx.helper.make_tensor_value_info("inner", onnx.TensorProto.INT64, [1, None])
    body = onnx.helper.make_graph([inner], "body", [], [value])
    flag = g("Greater", g("ReduceSum", x, keepdims=0), np.float32(0))
    proto = g.proto(g("If", flag, then_branch=body, else_branch=body))
    with pytest.raises(EdgecompError) as caught:
        dynamic_plan(proto, ())
    assert "NonZero" in caught.value.cause or "If" in caught.value.cause
    assert caught.value.hint
