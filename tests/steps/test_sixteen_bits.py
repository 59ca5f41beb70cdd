"""Activations and weights of 16-bit integers, from a model to a bundle."""

import shutil

import numpy as np
import onnx
import pytest
from helpers.gpu_bundles import session_of
from helpers.graphs import Graph, normal
from helpers.opencl import reason_without_device

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.run import Runner
from edgecomp.options import BudgetOptions, BuildOptions, QuantizeOptions
from edgecomp.reference.interpreter import run_reference


def samples(count=8):
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((1, 5, 9, 8)).astype(np.float32)} for _ in range(count)]


@pytest.fixture
def net(rng):
    """A convolution, a depthwise one, a sum, a pool, a gate, a product."""
    g = Graph()
    x = g.input("x", (1, 5, 9, 8))
    image = g("Relu", g("Conv", x, normal(rng, 21, 5, 3, 3), normal(rng, 21), name="conv"))
    filters = normal(rng, 21, 1, 3, 3)
    wide = g("Conv", image, filters, name="depthwise", group=21, pads=[1, 1, 1, 1])
    image = g("MaxPool", g("Add", wide, image), kernel_shape=[2, 2], strides=[2, 2])
    pooled = g("GlobalAveragePool", image)
    gate = g("Conv", pooled, normal(rng, 21, 21, 1, 1), normal(rng, 21), name="gate")
    image = g("Flatten", g("Mul", image, gate))
    depth = int(np.prod((21, 3, 3)))
    return g.proto(g("Gemm", image, normal(rng, depth, 13), normal(rng, 13), name="gemm"))


def ratio(real, found):
    return 10 * np.log10((real**2).sum() / ((found - real) ** 2).sum())


def stored_types(path):
    return {v.name: v.data_type for v in onnx.load(path).graph.initializer if len(v.dims) > 1}


@pytest.mark.parametrize(
    ("precision", "least"), [("w8a16-int", 34), ("w16a16-int", 70), ("w16a8", 30)]
)
def test_a_bundle_computes_in_integers_what_its_file_says(precision, least, net, tmp_path):
    options = BuildOptions(precision=precision, output=tmp_path / "bundle")
    bundle = api.build(net, options, calibration_dataset=samples())
    feeds = samples(9)[-1]
    (found,) = bundle.run(feeds).values()
    portable = api.export(bundle.directory / "model.onnx")
    (wanted,) = run_reference(portable, feeds).values()
    np.testing.assert_array_equal(found, wanted)
    (real,) = Runner(api.export(net))(feeds).values()
    assert ratio(real, found) > least
    assert ratio(real, Runner(portable)(feeds).popitem()[1]) > least  # onnxruntime
    weights = onnx.TensorProto.INT16 if precision[1] == "1" else onnx.TensorProto.INT8
    assert set(stored_types(bundle.directory / "model.onnx").values()) == {weights}
    assert precision in bundle.report["facts"]["gain"]["summary"]
    assert not bundle.report["facts"]["quantization"]["stay_float"]


@pytest.mark.parametrize(
    ("target", "compiler", "emulator"),
    [
        ("raspberry-pi-4", "aarch64-linux-gnu-gcc", "qemu-aarch64"),
        ("armv7-linux", "arm-linux-gnueabihf-gcc", "qemu-arm"),
    ],
)
def test_arm_gives_the_same_bits(target, compiler, emulator, net, tmp_path):
    for program in (compiler, emulator):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    options = BuildOptions(precision="w16a16-int", target=target, output=tmp_path / "bundle")
    with api.build(net, options, calibration_dataset=samples()) as bundle:
        feeds = samples(9)[-1]
        (found,) = api.run(bundle, feeds, "qemu").values()
        portable = api.export(bundle.directory / "model.onnx")
        (wanted,) = run_reference(portable, feeds).values()
        np.testing.assert_array_equal(found, wanted)


def test_a_recipe_says_which_layers(net, tmp_path):
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(
        "- {pass: quantize}\n"
        "- {pass: quantize, targets: [depthwise, gemm], args: {precision: w8a16-int}}\n"
    )
    options = BuildOptions(recipe=recipe, output=tmp_path / "bundle")
    bundle = api.build(net, options, calibration_dataset=samples())
    portable = api.export(bundle.directory / "model.onnx")
    stored = [
        node.outputs[0].dtype.name
        for node in portable.graph
        if node.op_type == "QuantizeLinear"
    ]
    assert {"INT16", "UINT8"} == set(stored)
    feeds = samples(9)[-1]
    (found,) = bundle.run(feeds).values()
    np.testing.assert_array_equal(found, run_reference(portable, feeds).popitem()[1])


def test_functions_stay_float_and_say_so(rng, tmp_path):
    g = Graph()
    x = g.input("x", (3, 40))
    wide = g("Sigmoid", g("Gemm", x, normal(rng, 40, 24), name="a"), name="s")
    model = g.proto(g("Gemm", wide, normal(rng, 24, 700), name="b"))
    feeds = [{"x": rng.standard_normal((3, 40)).astype(np.float32)} for _ in range(4)]
    options = BuildOptions(precision="w8a16-int", output=tmp_path / "bundle")
    bundle = api.build(model, options, calibration_dataset=feeds)
    api.verify(bundle)
    stay = bundle.report["facts"]["quantization"]["stay_float"]
    assert stay == {"s": "functions of 16-bit values are computed in float32"}
    (found,) = bundle.run(feeds[0]).values()
    (real,) = Runner(api.export(model))(feeds[0]).values()
    assert ratio(real, found) > 36


def test_budgets_choose_by_layer():
    with pytest.raises(EdgecompError, match="every layer gets a precision of its own"):
        BudgetOptions(precision="w8a16-int", max_bytes=1000)
    assert QuantizeOptions(precision="16a8w").precision == "w8a16-int"


@pytest.mark.parametrize("target", ["apple-gpu", "webgpu"])
def test_an_apps_gpu_code_has_no_kernels_for_them(target, rng, tmp_path):
    """One product, which these devices have in 8 bits: refused, and no bundle is left."""
    g = Graph()
    x = g.input("x", (1, 5, 9, 8))
    model = g.proto(g("Conv", x, normal(rng, 21, 5, 3, 3), normal(rng, 21), name="conv"))
    out = tmp_path / "bundle"
    options = BuildOptions(precision="w8a16-int", target=target, output=out, toolchain="none")
    with pytest.raises(EdgecompError) as info:
        api.build(model, options, calibration_dataset=samples())
    assert info.value.code is Code.FALLBACK_REFUSED
    assert "16-bit integers are computed by the processor" in info.value.cause
    assert not out.exists()


@pytest.mark.parametrize("precision", ["w8a16-int", "w16a16-int", "w16a8"])
def test_beside_a_gpu_the_processor_computes_them(precision, net, tmp_path):
    if reason_without_device():
        pytest.skip(reason_without_device())
    options = BuildOptions(
        precision=precision, target="generic-opencl", output=tmp_path / "bundle"
    )
    bundle = api.build(net, options, calibration_dataset=samples())
    feeds = samples(9)[-1]
    portable = api.export(bundle.directory / "model.onnx")
    (wanted,) = run_reference(portable, feeds).values()
    with session_of(bundle) as session:
        (found,) = session.run(feeds).values()
        assert len({call.device for call in session.calls}) == 2
    # The report names what the processor has, and why.
    said = str(bundle.report["facts"]["on_the_processor"])
    assert ("16-bit integers are computed by the processor" in said) is ("a16" in precision)
    np.testing.assert_array_equal(found, wanted)
