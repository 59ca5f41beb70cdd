"""The families of ``test_dynamic.py`` on GPUs: kernels that get a run's sizes, and copies of as much.

All of them are one model: what the GPU has no kernels for is the processor's, with copies between.
"""

import hypothesis
import numpy as np
import onnxruntime
import pytest
from helpers.cuda import emulate, require_nvcc
from helpers.dynamic import dynamic_lowered, dynamic_plan, link
from helpers.dynamic_families import BATCH, FAMILIES, LENGTH, feeds_of, specs_of
from helpers.gpu_bundles import (
    images_of,
    target_with_local_memory,
    with_older_tensor_cores,
)
from helpers.graphs import Graph
from helpers.opencl import reason_without_device
from helpers.qdq import QdqGraph
from hypothesis import strategies

from edgecomp.device.load import load_target
from edgecomp.lower.lower import lower
from edgecomp.options import BuildOptions
from edgecomp.progress import silent
from edgecomp.steps.prepare import prepare

#: Those with operations that are left to the processor.
PARTLY = ("top_k", "sorted_rows", "sorted_batch", "scaled_by_size")
TARGETS = {"opencl": "generic-opencl", "cuda": "cuda-sm90"}
DEVICES = {"opencl": 1, "cuda": 2}


class Prefixed:
    """A graph in which a family has its own inputs."""

    def __init__(self, graph, prefix):
        self._graph, self._prefix = graph, prefix

    def input(self, name, shape, dtype=np.float32):
        return self._graph.input(f"{self._prefix}_{name}", shape, dtype)

    def __call__(self, operator, *inputs, **more):
        return self._graph(operator, *inputs, **more)


def joined(families):
    """One model of several families."""
    graph = Graph()
    return graph.proto(*(FAMILIES[name](Prefixed(graph, name)) for name in families))


def opened_on(api, proto, specs, folder):
    """A session of a model that an API's device has a part of."""
    if api == "cuda":
        require_nvcc()
    elif reason_without_device():
        pytest.skip(reason_without_device())
    plan = dynamic_plan(proto, specs, target=TARGETS[api])
    open_model = link([plan], folder)
    if api == "cuda":
        emulate(plan.programs[0].text)
    return open_model("model", plan="device")


@pytest.fixture(scope="module", params=TARGETS)
def opened(request, tmp_path_factory):
    proto = joined(FAMILIES)
    options = onnxruntime.SessionOptions()
    # Else it rounds activations to 8 bits in front of weights of few bits.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    folder = tmp_path_factory.mktemp("gpu")
    with opened_on(request.param, proto, specs_of(proto), folder) as session:
        assert {call.device for call in session.calls} == {0, DEVICES[request.param]}
        yield session, onnxruntime.InferenceSession(proto.SerializeToString(), options)


@hypothesis.given(
    batch=strategies.integers(1, BATCH), length=strategies.integers(1, LENGTH), seed=...
)
@hypothesis.example(batch=1, length=1, seed=0)
@hypothesis.example(batch=BATCH, length=LENGTH, seed=0)
@hypothesis.example(batch=3, length=LENGTH - 1, seed=0)
def test_families(opened, batch: int, length: int, seed: int):
    session, reference = opened
    feeds = feeds_of(reference, batch, length, np.random.default_rng(abs(seed)))
    expected = reference.run(None, feeds)
    for want, (name, found) in zip(expected, session.run(feeds).items(), strict=True):
        assert found.shape == want.shape, name
        if want.dtype.kind == "f":
            np.testing.assert_allclose(found, want, rtol=2e-5, atol=2e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(found, want, err_msg=name)


def test_nothing_else_is_left_to_the_processor():
    proto = joined([name for name in FAMILIES if name not in PARTLY])
    plan = dynamic_plan(proto, specs_of(proto), target="generic-opencl")
    assert {call.device for call in plan.calls} == {DEVICES["opencl"]}


def test_more_sizes_than_a_kernel_takes(monkeypatch):
    """Such an operation is the processor's."""
    monkeypatch.setattr("edgecomp.schedules.gpu.family.MOST_SIZES", 0)
    proto = joined(["heads"])
    plan = dynamic_plan(proto, specs_of(proto), target="generic-opencl")
    assert {call.device for call in plan.calls} == {0}


def test_every_kind_has_a_price_on_both():
    """That of the largest sizes; what the GPU has no kernel for has one on the processor."""
    proto = joined(FAMILIES)
    found = dynamic_lowered(
        proto, specs_of(proto), target="generic-opencl", accelerators=("cpu", "gpu")
    )
    assert found.placement.sizes == {"b": BATCH, "s": LENGTH}
    placed = found.placement.operations
    assert len(placed) > len(FAMILIES)
    for each in placed:
        assert 0 < each.prices.processor < 1, each.prices.operation
        assert each.prices.gpu is None or 0 < each.prices.gpu < 1, each.prices.operation
    none = [each for each in placed if each.prices.gpu is None]
    assert 0 < len(none) < 3 * len(PARTLY)


def test_what_the_data_decides_is_the_processors():
    """Prices are those of the bound."""
    graph = Graph()
    x = graph.input("x", (40, 64))
    weight = np.ones((64, 64), np.float32)
    keep = graph.input("keep", (40,), bool)
    kept = graph("Compress", graph("MatMul", x, weight), keep, axis=0)
    proto = graph.proto(graph("Relu", kept))
    found = dynamic_lowered(proto, [], target="generic-opencl", accelerators=("cpu", "gpu"))
    prices = [each.prices for each in found.placement.operations]
    counted = [each for each in prices if "the data decides" in each.why_not]
    assert counted
    assert all(each.gpu is None and each.processor > 0 for each in counted)


@pytest.mark.parametrize("api", TARGETS)
def test_batches_beyond_what_a_grid_is_long_along_z(api, tmp_path, rng):
    """A product of two values has a group for each of a batch."""
    most = 65537
    graph = Graph()
    x, y = graph.input("x", ("n", 2, 3)), graph.input("y", ("n", 3, 4))
    proto = graph.proto(graph("MatMul", x, y))
    bounds = [f"x:[1..{most}]x2x3", f"y:[1..{most}]x3x4"]
    with opened_on(api, proto, bounds, tmp_path) as session:
        assert "copy" in {call.schedule for call in session.calls}
        for batch in (most, 1, 65536, 300):
            a = rng.integers(-9, 9, (batch, 2, 3)).astype(np.float32)
            b = rng.integers(-9, 9, (batch, 3, 4)).astype(np.float32)
            (found,) = session.run({"x": a, "y": b}).values()
            np.testing.assert_array_equal(found, a @ b)


def schedules_of(plan):
    """Of all calls but copies, in order."""
    return [call.schedule for call in plan.calls if call.schedule != "copy"]


def on_tensor_cores(proto, specs, folder, target="cuda-sm90", **more):
    """A session of a plan on CUDA, where tf32 is allowed, and the schedules of its calls."""
    require_nvcc()
    plan = dynamic_lowered(proto, specs, target=target, tf32=True, **more).plan
    open_model = link([plan], folder)
    emulate(plan.programs[0].text)
    return open_model("model", plan="device"), schedules_of(plan)


@pytest.mark.parametrize("is_older", [False, True], ids=["cuda-sm90", "jetson-xavier"])
def test_attention_on_tensor_cores(is_older, tmp_path, rng):
    """Heads side by side and a mask; keys of any number, and of another one than rows."""
    g = Graph()
    x, z = g.input("x", ("b", "s", 24)), g.input("z", ("b", "t", 48))
    if is_older:  # whose floats have 16 bits: those that a kernel stores
        x, z = g("Tanh", x), g("Tanh", z)
    mask = g.input("mask", ("b", 1, 1, "t"))

    def heads(value, start):
        ends = (np.array([number]) for number in (start, start + 24, 2))
        cut = g("Slice", value, *ends)
        cut = g("Reshape", cut, np.array([0, 0, 2, 12]))
        return g("Transpose", cut, perm=[0, 2, 1, 3])

    q, k, v = heads(x, 0), heads(z, 0), heads(z, 24)
    scores = g("Mul", g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2])), np.float32(0.3))
    weights = g("Softmax", g("Add", scores, mask), axis=-1)
    y = g("Transpose", g("MatMul", weights, v), perm=[0, 2, 1, 3])
    proto = g.proto(g("Reshape", y, np.array([0, 0, 24])))
    specs = ["x:[1..3]x[1..50]x24", "z:[1..3]x[1..90]x48", "mask:[1..3]x1x1x[1..90]"]
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    target = with_older_tensor_cores(tmp_path) if is_older else "cuda-sm90"
    more = {"floats": "float16"} if is_older else {}
    session, schedules = on_tensor_cores(proto, specs, tmp_path, target, **more)
    assert [name for name in schedules if name != "cuda_elementwise"] == [
        "cuda_tensor_attention"
    ]
    with session:
        for batch, rows, keys in ((3, 50, 90), (1, 1, 1), (2, 17, 33), (3, 8, 16)):
            shapes = {"x": (rows, 24), "z": (keys, 48), "mask": (1, 1, keys)}
            feeds = {
                name: rng.standard_normal((batch, *shape)).astype(np.float32)
                for name, shape in shapes.items()
            }
            (found,) = session.run(feeds).values()
            (want,) = reference.run(None, feeds)
            np.testing.assert_allclose(found, want, atol=3e-3 * np.abs(want).max())


@pytest.mark.parametrize("turned", [False, True], ids=["K_by_N", "N_by_K"])
def test_products_of_two_values_on_tensor_cores(turned, tmp_path, rng):
    """Rows, columns, K and the batch; small integers are exact in tf32."""
    g = Graph()
    x, y = g.input("x", ("b", "m", "k")), g.input("y", ("b", *("nk" if turned else "kn")))
    y = g("Transpose", y, perm=[0, 2, 1]) if turned else y
    fixed = g.input("fixed", (3, 8, 16))
    proto = g.proto(
        g("MatMul", x, y),
        g("MatMul", g("Transpose", g.input("u", ("m", 3, 8)), perm=[1, 0, 2]), fixed),
    )
    turned_y = "[1..20]x[1..140]" if turned else "[1..140]x[1..20]"
    specs = [
        "x:[1..3]x[1..40]x[1..140]",
        f"y:[1..3]x{turned_y}",
        "fixed:3x8x16",
        "u:[1..40]x3x8",
    ]
    session, schedules = on_tensor_cores(proto, specs, tmp_path)
    assert schedules == ["cuda_tensor_batch_product"] * 2
    with session:
        for batch, rows, depth, columns in ((3, 40, 140, 20), (1, 1, 1, 1), (2, 9, 35, 8)):
            shapes = ((batch, rows, depth), (batch, depth, columns), (3, 8, 16), (rows, 3, 8))
            a, b, c, d = (rng.integers(-9, 9, shape).astype(np.float32) for shape in shapes)
            given = np.ascontiguousarray(b.swapaxes(1, 2)) if turned else b
            found = session.run({"x": a, "y": given, "fixed": c, "u": d}).values()
            for one, want in zip(found, (a @ b, d.swapaxes(0, 1) @ c), strict=True):
                np.testing.assert_array_equal(one, want)


@pytest.mark.parametrize("is_older", [False, True], ids=["cuda-sm90", "jetson-xavier"])
def test_integer_products_of_two_values_on_tensor_cores(is_older, tmp_path, rng):
    """Zero points of both operands, which are taken off the sums of every size."""
    g = QdqGraph()
    a = g.stored("a", ("b", "m", "k"), 0.02, 91)
    b = g.stored("b", ("b", "k", "n"), 0.03, 77)
    proto = g.proto(g.quantize(g("MatMul", a, b), 0.4, 120))
    specs = ["a:[1..3]x[1..40]x[1..140]", "b:[1..3]x[1..140]x[1..20]"]
    target = with_older_tensor_cores(tmp_path) if is_older else "cuda-sm90"
    session, schedules = on_tensor_cores(proto, specs, tmp_path, target)
    assert schedules.count("cuda_tensor_batch_product") == 1
    assert not {"cuda_quantize", "cuda_batch_matrix_multiply"} & set(schedules)
    with session:
        for batch, rows, depth, columns in ((3, 40, 140, 20), (1, 1, 1, 1), (2, 9, 35, 8)):
            x = rng.integers(0, 256, (batch, rows, depth)).astype(np.uint8)
            y = rng.integers(0, 256, (batch, depth, columns)).astype(np.uint8)
            (found,) = session.run({"a": x, "b": y}).values()
            sums = (x.astype(np.int64) - 91) @ (y.astype(np.int64) - 77)
            alpha = np.float32(np.float32(0.02) * np.float32(0.03))
            want = np.rint(sums.astype(np.float32) * alpha / np.float32(0.4)) + 120
            np.testing.assert_array_equal(found, np.clip(want, 0, 255))


@pytest.mark.parametrize("is_older", [False, True], ids=["cuda-sm90", "jetson-xavier"])
def test_integer_products_of_any_number_of_rows(is_older, tmp_path, rng):
    g = QdqGraph()
    x = g.stored("x", ("b", "s", 48), 0.02, 91)
    stored = rng.integers(-127, 128, (48, 20)).astype(np.int8)
    weight = g("DequantizeLinear", stored, np.float32(0.03), np.int8(0))
    proto = g.proto(g.quantize(g("MatMul", x, weight), 0.4, 120))
    target = with_older_tensor_cores(tmp_path) if is_older else "cuda-sm90"
    session, schedules = on_tensor_cores(proto, ["x:[1..3]x[1..70]x48"], tmp_path, target)
    assert schedules[-1] == "cuda_tensor_product"
    with session:
        for batch, rows in ((3, 70), (1, 1), (2, 17)):
            given = rng.integers(0, 256, (batch, rows, 48)).astype(np.uint8)
            (found,) = session.run({"x": given}).values()
            sums = (given.astype(np.int64) - 91) @ stored.astype(np.int64)
            scale = np.float32(0.02) * np.float32(0.03) / np.float32(0.4)
            want = np.clip(np.rint(sums.astype(np.float32) * scale) + 120, 0, 255)
            np.testing.assert_array_equal(found, want)


@pytest.mark.parametrize("texels", [False, True], ids=["buffers", "images"])
def test_tiles_in_local_memory(texels, tmp_path, rng):
    """Fewer rows than a tile has, and rows that no tile divides."""
    if reason_without_device():
        pytest.skip(reason_without_device())
    target = target_with_local_memory(tmp_path, texels=texels)
    graph = Graph()
    x = graph.input("x", ("b", "s", 32))
    weight = rng.standard_normal((32, 64)).astype(np.float32)
    proto = graph.proto(graph("Relu", graph("MatMul", x, weight)))
    plan = dynamic_plan(proto, specs_of(proto), target=target)
    assert [c.schedule for c in plan.calls if c.schedule != "copy"] == [
        "opencl_shared_product"
    ]
    assert images_of(plan) == ([[0, 1]] if texels else [])
    with link([plan], tmp_path)("model", plan="device") as session:
        for shape in ((BATCH, LENGTH), (1, 1), (3, 29), (2, 8)):
            given = rng.standard_normal((*shape, 32)).astype(np.float32)
            (found,) = session.run({"x": given}).values()
            np.testing.assert_allclose(found, np.maximum(given @ weight, 0), atol=2e-5)


def test_tiles_are_no_larger_than_the_memory(tmp_path, rng):
    """7 x 7 pixels, of which the bound term by term is 73, in tiles of at most 64 rows."""
    if reason_without_device():
        pytest.skip(reason_without_device())
    target = target_with_local_memory(tmp_path, registers=128)

    def conv(x, inputs, outputs, kernel):
        weight = rng.standard_normal((outputs, inputs, kernel, kernel)) * 0.1
        return graph("Conv", x, weight.astype(np.float32))

    graph = Graph()
    x = graph.input("x", (1, 3, "h", "w"))
    kept = graph("Relu", conv(x, 3, 16, 3))
    a, b, c = (graph("Relu", conv(kept, 16, 64, 1)) for _ in range(3))
    # This is behind c in memory, and needed once more when c is there.
    again = conv(graph("Add", kept, conv(x, 3, 16, 3)), 16, 5, 1)
    total = graph("Relu", graph("Add", graph("Add", a, b), c))
    proto = graph.proto(conv(total, 64, 7, 1), again)
    plan = dynamic_plan(proto, ["x:1x3x[3..9]x[3..9]"], target=target)
    assert "opencl_shared_product" in {call.schedule for call in plan.calls}
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    with link([plan], tmp_path)("model", plan="device") as session:
        for height, width in ((9, 9), (3, 3), (4, 9), (8, 7)):
            given = rng.standard_normal((1, 3, height, width)).astype(np.float32)
            expected = reference.run(None, {"x": given})
            for found, want in zip(session.run({"x": given}).values(), expected, strict=True):
                np.testing.assert_allclose(found, want, atol=2e-5)


@pytest.mark.parametrize("floats", ["float32", "float16"])
def test_prices_are_those_of_the_largest_sizes(floats):
    """What a build for these sizes alone says, values of 16 bits being half as large."""
    graph = Graph()
    x = graph.input("x", ("b", "s", 64))
    weight = np.ones((64, 64), np.float32)
    y = graph("Relu", graph("MatMul", graph("Relu", graph("MatMul", x, weight)), weight))
    proto = graph.proto(graph("Softmax", y))
    target = load_target("generic-opencl")
    more = {"accelerators": ("cpu", "gpu"), "floats": floats}
    found = dynamic_lowered(proto, specs_of(proto), target=target.name, **more).placement
    options = BuildOptions(input=(f"x:{BATCH}x{LENGTH}x64",), cache_dir=None)
    static = prepare(proto, options, silent, target=target)
    more |= {"name": "fixed", "cpu_plan": False, "workers": 1}
    fixed = lower(static.model, target, **more).placement
    prices, wanted = (
        [(each.prices.processor, each.prices.gpu) for each in made.operations]
        for made in (found, fixed)
    )
    assert prices == wanted
