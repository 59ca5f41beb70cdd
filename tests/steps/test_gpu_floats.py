"""--precision fp16 and bf16 on GPUs: values between kernels in 16 bits, checked where they run."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from helpers.cuda import emulate, require_nvcc
from helpers.gpu_bundles import target_of_speed, target_with_local_memory
from helpers.graphs import Graph
from helpers.opencl import reason_without_device

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import run_model
from edgecomp.native import Session
from edgecomp.options import BuildOptions
from edgecomp.resources import resource_folder
from edgecomp.steps.half_values import half_values

SHAPE = (1, 3, 9, 8)


def network(rng, top=1.0):
    """A convolution, a depthwise one, a product of few values and one of large ones."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    g = Graph()
    x = g.input("x", SHAPE)
    a = g("Relu", g("Conv", x, weights(16, 3, 3, 3), weights(16), pads=[1] * 4))
    b = g("Conv", a, weights(16, 1, 3, 3), weights(16), pads=[1] * 4, group=16)
    c = g("Add", g("Conv", b, weights(16, 16, 1, 1), weights(16)), a)
    large = g("Mul", c, np.array(top, np.float32))
    d = g(
        "Mul",
        g("Relu", g("Conv", large, weights(16, 16, 1, 1), weights(16))),
        np.float32(0.5 / top),
    )
    return g.proto(
        g("Gemm", g("Flatten", g("GlobalAveragePool", d)), weights(16, 10), weights(10))
    )


def built(proto, folder, target, precision="fp32", **more):
    options = BuildOptions(
        target=target,
        precision=precision,
        output=folder / "bundle",
        cache_dir=folder / "cache",
        name="network",
        require_full_target=True,
        **more,
    )
    return api.build(proto, options)


def run(bundle, plan):
    (vector,) = bundle.golden
    with Session(bundle.library_path, weights=bundle.weights_path, plan=plan) as session:
        found = session.run(vector.inputs)
    return vector, found


def test_opencl(rng, tmp_path):
    if reason_without_device():
        pytest.skip(reason_without_device())
    bundle = built(network(rng), tmp_path, "generic-opencl", "fp16", cpu_plan=False)
    assert bundle.report["facts"]["gpu_floats"]["values"] >= 4
    vector, found = run(bundle, "device")
    for name, want in vector.outputs.items():
        assert 0 < np.abs(found[name] - want).max() <= vector.spread[name]
        assert vector.spread[name] < 0.2 * np.abs(want).max()


def larger_network(rng, size):
    """Convolutions with enough channels for kernels of large tiles; the pixels are no whole tile."""
    g = Graph()

    def conv(x, inputs, size):
        weight = rng.standard_normal((48, inputs, size, size)) / np.sqrt(inputs * size**2)
        return g("Conv", x, weight.astype(np.float32), pads=[size // 2] * 4)

    x = g("Relu", conv(g.input("x", SHAPE), 3, 3))
    y = g("Relu", conv(x, 48, size))
    return g.proto(g("GlobalAveragePool", g("Add", conv(y, 48, size), x)))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize(("schedule", "size"), [("shared_product", 1), ("winograd", 3)])
def test_opencl_of_larger_tiles(rng, tmp_path, schedule, size, precision):
    if reason_without_device():
        pytest.skip(reason_without_device())
    if schedule == "winograd":
        target = str(target_of_speed(tmp_path, 1.0, 0.1))  # products are what takes time
    else:
        target = target_with_local_memory(tmp_path)
    bundle = built(larger_network(rng, size), tmp_path, target, precision, cpu_plan=False)
    assert bundle.report["coverage"]["schedules"][f"opencl_{schedule}"]["calls"] >= 2
    assert bundle.report["facts"]["gpu_floats"]["values"] >= 3
    vector, found = run(bundle, "device")
    for name, want in vector.outputs.items():
        assert 0 < np.abs(found[name] - want).max() <= vector.spread[name]
        assert vector.spread[name] < 0.2 * np.abs(want).max()


def products(rng):
    """Two of them: of the model's input, and of what is stored between them."""
    g = Graph()
    weight = rng.standard_normal((32, 8)).astype(np.float32)
    hidden = g("MatMul", g.input("x", (4, 32)), weight)
    return g.proto(g("MatMul", g("Relu", hidden), weight.T.copy()))


def attention(rng):
    """Heads side by side, turned by transposes; and a product of two values that is none."""
    g = Graph()

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    def heads(x):
        cut = g("Reshape", x, np.array([1, 21, 3, 16]))
        return g("Transpose", cut, perm=[0, 2, 1, 3])

    x = g("Relu", g("MatMul", g.input("x", (1, 21, 24)), weights(24, 48)))
    q, k, v = (heads(g("MatMul", x, weights(48, 48))) for _ in range(3))
    scores = g("Mul", g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2])), np.float32(0.25))
    y = g("MatMul", g("Softmax", scores, axis=-1), v)
    y = g("Transpose", y, perm=[0, 2, 1, 3])
    joined = g("MatMul", g("Reshape", y, np.array([1, 21, 48])), weights(48, 48))
    other = heads(g("MatMul", x, weights(48, 48)))
    gram = g("MatMul", g("Transpose", other, perm=[0, 1, 3, 2]), heads(joined))
    return g.proto(g("Relu", g("MatMul", gram, weights(16, 8))))


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_attention_on_tensor_cores(rng, tmp_path, precision):
    """No transpose is left but the one in front of rows whose elements would lie apart."""
    require_nvcc()
    bundle = built(attention(rng), tmp_path, "cuda-sm90", precision, cpu_plan=False)
    schedules = bundle.report["coverage"]["schedules"]
    assert schedules["cuda_tensor_attention"]["calls"] == 1
    assert schedules["cuda_tensor_batch_product"]["calls"] == 1
    assert schedules["cuda_move"]["calls"] == 1
    assert "cuda_batch_matrix_multiply" not in schedules
    emulate((bundle.directory / "src" / "network.cu").read_text())
    vector, found = run(bundle, "device")
    for name, want in vector.outputs.items():
        assert 0 < np.abs(found[name] - want).max() <= 2 * vector.spread[name]


def test_tensor_cores(rng, tmp_path):
    require_nvcc()
    settings = {"precision": "fp16", "allow_tf32": True, "cpu_plan": False}
    bundle = built(products(rng), tmp_path, "cuda-sm90", **settings)
    text = (bundle.directory / "src" / "network.cu").read_text()
    assert all(f" = ec::mma_{kind}(" in text for kind in ("tf32", "f16"))
    emulate(text)
    vector, found = run(bundle, "device")
    for name, want in vector.outputs.items():
        assert 0 < np.abs(found[name] - want).max() <= vector.spread[name]
        assert vector.spread[name] < 0.2 * np.abs(want).max()


def test_tf32_where_there_is_none(rng, tmp_path):
    with pytest.raises(EdgecompError) as info:
        built(network(rng), tmp_path, "generic-opencl", allow_tf32=True)
    assert info.value.code is Code.USAGE


def test_values_that_do_not_fit_stay_wide(rng):
    proto = onnx.shape_inference.infer_shapes(network(rng, top=1e6))
    model = ir.serde.deserialize_model(proto)
    feeds = {"x": rng.standard_normal(SHAPE).astype(np.float32)}
    golden = [(feeds, run_model(model, feeds))]
    found = half_values(model, golden, "float16")
    assert len(found.wide) >= 2
    (name,) = found.spreads[0]
    assert 0 < found.spreads[0][name] < 0.2 * np.abs(golden[0][1][name]).max()
    assert not half_values(model, golden, "bfloat16").wide
    # Sums of products that are formed in the type take more room than the values.
    model = ir.serde.deserialize_model(
        onnx.shape_inference.infer_shapes(network(rng, top=2000.0))
    )
    golden = [(feeds, run_model(model, feeds))]
    assert not half_values(model, golden, "float16").wide
    assert half_values(model, golden, "float16", sums=16).wide


def test_a_device_without_arithmetic_in_half(rng, tmp_path):
    if reason_without_device():
        pytest.skip(reason_without_device())
    text = (resource_folder("targets") / "generic-opencl.toml").read_text()
    text = text.replace('aliases = ["opencl"]\n', "").replace("generic-opencl", "other")
    path = tmp_path / "other.toml"
    path.write_text(text.replace("features = []", 'features = ["fp16"]'))
    proto = products(rng)
    bundle = built(proto, tmp_path, str(path), "fp16")
    vector, found = run(bundle, "auto")
    with Session(bundle.library_path, weights=bundle.weights_path) as session:
        if session.plan == "device":
            pytest.skip("the OpenCL device computes in half")
        assert "has no cl_khr_fp16, which the kernels use" in str(session.device_failure)
    # The processor's plan has narrow weights, and float32 between them.
    for name, want in vector.outputs.items():
        np.testing.assert_allclose(found[name], want, rtol=1e-4, atol=1e-4)


def test_a_model_in_float16(rng, tmp_path):
    if reason_without_device():
        pytest.skip(reason_without_device())
    g = Graph()
    weight = (rng.standard_normal((16, 8)) * 0.2).astype(np.float16)
    x = g.input("x", (4, 16), np.float16)
    hidden = g("Relu", g("MatMul", x, weight))
    proto = g.proto(g("Add", g("MatMul", hidden, weight.T.copy()), np.float16(0.5)))
    bundle = built(proto, tmp_path, "generic-opencl", cpu_plan=False)
    assert bundle.report["facts"]["quantization"]["precision"] == "fp16"
    given = rng.standard_normal((4, 16)).astype(np.float16)
    with Session(bundle.library_path, weights=bundle.weights_path, plan="device") as session:
        (found,) = session.run({"x": given}).values()
    assert found.dtype == np.float16
    wide = weight.astype(np.float64)
    want = np.maximum(given @ wide, 0) @ wide.T + 0.5
    np.testing.assert_allclose(found.astype(np.float64), want, rtol=2e-3, atol=2e-3)
