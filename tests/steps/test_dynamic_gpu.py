"""Bundles for GPUs with dimensions that differ from run to run."""

import numpy as np
import onnxruntime
import pytest
from helpers.cuda import emulator
from helpers.gpu_bundles import (
    TARGETS,
    built,
    devices_of,
    session_of,
    session_on_device,
    target_of_speed,
)
from helpers.graphs import Graph

from edgecomp.errors import Code, EdgecompError


def normal(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def assert_floats(session, reference, feeds, precision):
    """What onnxruntime computes, to what a precision rounds."""
    for found, want in zip(
        session.run(feeds).values(), reference.run(None, feeds), strict=True
    ):
        assert found.shape == want.shape
        limit = {"fp32": 1e-5, "fp16": 5e-3}[precision] * max(1, np.abs(want).max())
        np.testing.assert_allclose(found, want, rtol=0, atol=limit)


def network(rng):
    """A transformer's layer over words, and a mean of those that count."""
    width, heads = 24, 3

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    def dense(x, inputs, outputs):
        return g("Add", g("MatMul", x, weights(inputs, outputs)), weights(outputs))

    def split(x, *order):
        each = g("Reshape", x, np.array([0, 0, heads, width // heads]))
        return g("Transpose", each, perm=order)

    g = Graph()
    ids = g.input("ids", ("batch", "length"), np.int64)
    mask = g.input("mask", ("batch", "length"))
    x = g("Gather", weights(50, width), ids)
    kept = g("Unsqueeze", mask, np.array([1, 2]))
    scores = g("MatMul", split(dense(x, width, width), 0, 2, 1, 3),
               split(dense(x, width, width), 0, 2, 3, 1))  # fmt: skip
    scores = g("Add", g("Mul", scores, np.float32(0.35)), g("Mul", kept, np.float32(-50)))
    values = split(dense(x, width, width), 0, 2, 1, 3)
    mixed = g("MatMul", g("Softmax", scores, axis=-1), values)
    joined = g("Reshape", g("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, width]))
    x = g("Add", dense(joined, width, width), x)
    x = g("LayerNormalization", x, weights(width), weights(width), axis=-1)
    return g.proto(g("ReduceMean", g("Relu", dense(x, width, 40)), np.array([1]), keepdims=0))


@pytest.mark.parametrize("api", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_dynamic_sizes(api, precision, tmp_path, rng):
    """Batch and length of a run: kernels get them, and nothing is left to the processor."""
    proto = network(rng)
    bundle = built(
        proto,
        tmp_path,
        TARGETS[api][0],
        input=("ids:[1..3]x[1..40]",),
        require_full_target=True,
        precision=precision,
    )
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    with session_on_device(bundle) as session:
        schedules = {call.schedule for call in session.calls}
        own = {f"{api}_attention"}
        if (api, precision) == ("cuda", "fp16"):
            own = {"cuda_tensor_attention", "cuda_tensor_product"}
        assert {*own, "copy"} < schedules
        assert {name for name in schedules if "tensor" in name} == {
            n for n in own if "tensor" in n
        }
        for batch, length in ((3, 40), (1, 1), (2, 17), (3, 40), (1, 39), (3, 2)):
            feeds = {
                "ids": rng.integers(0, 50, (batch, length)),
                "mask": (rng.random((batch, length)) < 0.3).astype(np.float32),
            }
            assert_floats(session, reference, feeds, precision)


@pytest.mark.parametrize("api", TARGETS)
@pytest.mark.parametrize("precision", ["w4a16", "w3a16", "binary"])
def test_weights_of_few_bits(api, precision, tmp_path, rng):
    """All on the device, for few rows and for many; the CPU plan has the same weights."""
    bundle = built(
        network(rng),
        tmp_path,
        TARGETS[api][0],
        input=("ids:[1..3]x[1..40]",),
        require_full_target=True,
        precision=precision,
    )
    packed = f"{api}_packed_matrix_multiply"
    with session_on_device(bundle) as session, session_of(bundle, plan="cpu") as cpu:
        count = sum(call.schedule == packed for call in session.calls)
        assert count == 2 * 5
        for batch, length in ((3, 40), (1, 1), (2, 2), (1, 5), (3, 13), (1, 3), (3, 40)):
            feeds = {
                "ids": rng.integers(0, 50, (batch, length)),
                "mask": (rng.random((batch, length)) < 0.3).astype(np.float32),
            }
            (found,), (want,) = (s.run(feeds).values() for s in (session, cpu))
            limit = 1e-5 * max(1, np.abs(want).max())
            np.testing.assert_allclose(found, want, rtol=0, atol=limit)


def split_network(rng, width=128):
    """Products with a running sum between them, which no GPU here has a kernel for."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.1).astype(np.float32)

    g = Graph()
    x = g.input("x", ("batch", "length", width))
    hidden = g("Relu", g("MatMul", x, weights(width, width)))
    hidden = g("MatMul", hidden, weights(width, width))
    summed = g("Mul", g("CumSum", hidden, np.array(2)), np.float32(0.1))
    y = g("MatMul", g("Relu", g("MatMul", summed, weights(width, width))), weights(width, 10))
    return g.proto(g("ReduceMax", y, np.array([1]), keepdims=0))


def split(width=128):
    """Options of a build that divides it."""
    return {"input": (f"x:[1..3]x[1..64]x{width}",), "accelerator": "cpu,gpu"}


@pytest.mark.parametrize(
    ("api", "precision"),
    [
        *((api, precision) for api in TARGETS for precision in ("fp32", "w8a8")),
        ("opencl", "fp16"),
    ],
)
def test_parts_of_dynamic_sizes(api, precision, tmp_path, rng):
    """Copies between the devices are as large as a run; the bundle's CPU plan computes the same."""
    width = 256 if precision == "w8a8" else 128  # else the processor is as fast
    proto = split_network(rng, width)
    samples = [{"x": normal(rng, 3, 64, width)} for _ in range(4)]
    target, device = TARGETS[api]
    bundle = built(
        proto,
        tmp_path,
        str(target_of_speed(tmp_path, 9e3, 0.1, target)),
        samples=samples if precision == "w8a8" else None,
        precision=precision,
        **split(width),
    )
    facts = bundle.report["facts"]
    places = {(row["operator"], row["device"]) for row in facts["placement"]}
    assert {("MatrixMultiply", "gpu"), ("Cumulative", "cpu")} <= places
    cost = facts["placement_cost"]
    assert cost["at the sizes"] == "batch=3, length=64"
    others = cost["all on the processor"], cost["on the GPU what it can compute"]
    assert cost["microseconds of a run"] <= min(others)
    assert any(line.startswith("Cumulative") for line in facts["on_the_processor"])
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    with session_on_device(bundle) as session, session_of(bundle, plan="cpu") as cpu:
        assert devices_of(session) == {0, device}
        assert devices_of(cpu) == {0}
        most = 0.0  # of the first size, for which all is calibrated, at the least
        for batch, length in ((3, 64), (1, 1), (2, 17), (3, 1), (1, 63), (3, 64)):
            x = normal(rng, batch, length, width)
            (found,), (same,) = (s.run({"x": x}).values() for s in (session, cpu))
            (want,) = reference.run(None, {"x": x})
            assert found.shape == same.shape == want.shape
            if precision == "w8a8":
                np.testing.assert_array_equal(found, same)
            most = max(most, float(np.abs(want).max()))
            limit = {"fp32": 1e-5, "fp16": 5e-3, "w8a8": 0.1}[precision] * most
            np.testing.assert_allclose(found, want, rtol=0, atol=limit)
            np.testing.assert_allclose(same, want, rtol=0, atol=limit)


def test_parts_where_there_is_no_driver(tmp_path, rng):
    proto = split_network(rng)
    bundle = built(proto, tmp_path, str(target_of_speed(tmp_path, 9e3, 0.1)), **split())
    assert bundle.manifest.devices == ("opencl",)
    with session_of(bundle, plan="auto", device="No Such Device") as session:
        assert session.plan == "cpu"
        x = normal(rng, 2, 5, 128)
        (found,) = session.run({"x": x}).values()
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    np.testing.assert_allclose(found, reference.run(None, {"x": x})[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("speed", "devices"), [((9e3, 0.1), ("opencl",)), ((1.0, 1e6), ())], ids=["fast", "slow"]
)
def test_the_whole_of_dynamic_sizes(speed, devices, tmp_path, rng):
    """What the GPU is not given is no reason to refuse a build; what it has no kernel for is one."""
    more = {**split(), "require_full_target": True}
    target = str(target_of_speed(tmp_path, *speed))
    with pytest.raises(EdgecompError, match="Cum") as info:
        built(split_network(rng), tmp_path / "split", target, **more)
    assert info.value.code is Code.FALLBACK_REFUSED
    assert "MatrixMultiply" not in info.value.cause
    more["input"] = ("ids:[1..3]x[1..40]",)
    bundle = built(network(rng), tmp_path / "whole", target, **more)
    assert bundle.manifest.devices == devices


@pytest.mark.parametrize("form", ["whole", "parts"])
def test_graphs_of_sizes(form, tmp_path, rng):
    """Recorded when sizes come again; they compute what the calls one by one do, bit by bit."""
    if form == "whole":
        proto, target = network(rng), TARGETS["cuda"][0]
        more = {"input": ("ids:[1..3]x[1..40]",)}
        parts = 1
    else:
        proto, more = split_network(rng), split()
        target = str(target_of_speed(tmp_path, 9e3, 0.1, TARGETS["cuda"][0]))
        parts = 2
    bundle = built(proto, tmp_path, target, **more)
    sizes = ((3, 40), (1, 7), (2, 17))

    def feeds_of(batch, length):
        if form == "parts":
            return {"x": normal(rng, batch, length, 128)}
        mask = rng.random((batch, length)) < 0.3
        return {
            "ids": rng.integers(0, 50, (batch, length)),
            "mask": mask.astype(np.float32),
        }

    feeds = {each: feeds_of(*each) for each in sizes}
    alone = {}
    for each in sizes:
        with session_on_device(bundle) as session:
            (alone[each],) = session.run(feeds[each]).values()
        assert emulator().ec_emulator_graphs() == 0
    with session_on_device(bundle) as session:
        for count, turn in enumerate([0, 0, 1, 0, 1, 1, 2, 0, 2, 1, 2, 0]):
            each = sizes[turn]
            given = emulator().ec_emulator_alone()
            (found,) = session.run(feeds[each]).values()
            np.testing.assert_array_equal(found, alone[each])
            is_new = count in (0, 2, 6)
            assert (emulator().ec_emulator_alone() > given) == is_new
        assert emulator().ec_emulator_graphs() == parts * 9
        assert emulator().ec_emulator_instances() == parts * 3
        assert emulator().ec_emulator_updates() == 0
    assert emulator().ec_emulator_live() == 0


def image_network(rng):
    """Convolutions of all kinds, pools, a product, for any number of images."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    g = Graph()
    x = g.input("x", ("batch", 3, 9, 8))
    a = g(
        "Relu", g("Conv", x, weights(16, 3, 3, 3), weights(16), pads=[1] * 4, strides=[2, 2])
    )
    b = g("Relu", g("Conv", a, weights(16, 1, 3, 3), weights(16), pads=[1] * 4, group=16))
    c = g("Add", g("Conv", b, weights(16, 16, 1, 1), weights(16)), a)
    d = g("MaxPool", c, kernel_shape=[2, 2], strides=[1, 1])
    e = g("Relu", g("Conv", d, weights(24, 8, 2, 2), weights(24), group=2))
    f = g("Flatten", g("GlobalAveragePool", e))
    return g.proto(g("Gemm", f, weights(24, 10), weights(10)))


@pytest.mark.parametrize("api", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_dynamic_batches(api, precision, tmp_path, rng):
    """Floats beside onnxruntime's; integers are those of the bundle's CPU plan, bit by bit."""
    proto = image_network(rng)
    samples = [{"x": rng.standard_normal((5, 3, 9, 8)).astype(np.float32)} for _ in range(4)]
    bundle = built(
        proto,
        tmp_path,
        TARGETS[api][0],
        samples=samples if precision == "w8a8" else None,
        input=("x:[1..5]x3x9x8",),
        require_full_target=True,
        precision=precision,
    )
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    with session_on_device(bundle) as session, session_of(bundle, plan="cpu") as cpu:
        for batch in (5, 1, 2, 4, 3, 5):
            x = rng.standard_normal((batch, 3, 9, 8)).astype(np.float32)
            (found,) = session.run({"x": x}).values()
            if precision == "w8a8":
                (want,) = cpu.run({"x": x}).values()
                np.testing.assert_array_equal(found, want)
            else:
                (want,) = reference.run(None, {"x": x})
                np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("api", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_dynamic_heights(api, precision, tmp_path, rng):
    """Convolutions, a resize and a mean over images of any size, down to a pixel."""
    g = Graph()
    x = g.input("x", (1, 3, "height", "width"))
    a = g("Relu", g("Conv", x, normal(rng, 8, 3, 3, 3) * 0.3, pads=[1] * 4, strides=[2, 2]))
    b = g("Add", g("Conv", a, normal(rng, 8, 8, 3, 3) * 0.2, pads=[1] * 4), a)
    c = g("Conv", b, normal(rng, 8, 1, 3, 3) * 0.3, pads=[1] * 4, group=8)
    d = g("Resize", c, "", np.array([1, 1, 2, 2], np.float32), mode="nearest")
    e = g("AveragePool", d, kernel_shape=[3, 3], pads=[1] * 4)
    proto = g.proto(g("Sigmoid", e), g("GlobalAveragePool", c))
    bundle = built(
        proto,
        tmp_path,
        TARGETS[api][0],
        input=("x:1x3x[1..32]x[1..48]",),
        require_full_target=True,
        precision=precision,
    )
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    with session_on_device(bundle) as session:
        assert devices_of(session) == {TARGETS[api][1]}
        for height, width in ((32, 48), (1, 1), (11, 16), (32, 1), (1, 47), (3, 9), (2, 2)):
            x = normal(rng, 1, 3, height, width)
            assert_floats(session, reference, {"x": x}, precision)


def test_images_that_the_processor_has(tmp_path, rng):
    """What has no kernel of any height: 8-bit means of more pixels than a table has room for."""
    g = Graph()
    x = g.input("x", (1, 8, "height", 160))
    y = g("Relu", g("Conv", x, normal(rng, 8, 8, 3, 3) * 0.2, pads=[1] * 4))
    proto = g.proto(g("Conv", g("GlobalAveragePool", y), normal(rng, 4, 8, 1, 1)))
    samples = [{"x": normal(rng, 1, 8, 103, 160)} for _ in range(4)]
    more = {"input": ("x:1x8x[8..103]x160",), "precision": "w8a8", "samples": samples}
    bundle = built(proto, tmp_path, "generic-opencl", **more)
    left = bundle.report["facts"]["on_the_processor"]
    assert any(line.endswith("8-bit means of up to more than 16383 elements") for line in left)
    with session_on_device(bundle) as session, session_of(bundle, plan="cpu") as cpu:
        assert devices_of(session) == {0, 1}
        for height in (103, 8, 13):
            x = normal(rng, 1, 8, height, 160)
            (found,), (same,) = (s.run({"x": x}).values() for s in (session, cpu))
            np.testing.assert_array_equal(found, same)
    with pytest.raises(EdgecompError, match="8-bit means of up to more than") as info:
        built(proto, tmp_path / "full", "generic-opencl", require_full_target=True, **more)
    assert info.value.code is Code.FALLBACK_REFUSED
