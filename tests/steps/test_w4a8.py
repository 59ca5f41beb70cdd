"""4-bit weights under 8-bit activations, from a model to a bundle."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.cli.report import command
from edgecomp.errors import EdgecompError
from edgecomp.graph.run import Runner
from edgecomp.options import BudgetOptions, BuildOptions, QuantizeOptions


@pytest.fixture
def net(rng):
    g = Graph()
    x = g.input("x", (1, 8, 11, 12))
    image = g("Relu", g("Conv", x, normal(rng, 32, 8, 3, 3), normal(rng, 32), name="conv"))
    image = g("Conv", image, normal(rng, 32, 1, 3, 3), name="depthwise", group=32)
    image = g("Relu", g("Conv", image, normal(rng, 21, 32, 1, 1), name="point"))
    pooled = g("Flatten", g("GlobalAveragePool", image))
    return g.proto(g("Gemm", pooled, normal(rng, 21, 50), normal(rng, 50), name="gemm"))


@pytest.fixture
def samples(rng):
    return [{"x": rng.standard_normal((1, 8, 11, 12)).astype(np.float32)} for _ in range(8)]


def test_a_bundle_computes_in_integers_what_its_file_says(net, samples, tmp_path):
    options = BuildOptions(precision="w4a8", output=tmp_path / "bundle")
    bundle = api.build(net, options, calibration_dataset=samples)
    api.verify(bundle)
    stored = {v.name: v.data_type for v in onnx.load(bundle.directory / "model.onnx").graph.initializer
              if len(v.dims) > 1}  # fmt: skip
    assert sorted(stored.values()) == sorted(
        [onnx.TensorProto.INT8] + 3 * [onnx.TensorProto.INT4]
    )
    report = json.loads((bundle.directory / "report.json").read_text())
    assert "w4a8 on host: weights take 0.1" in report["facts"]["gain"]["summary"]
    held = {call["nodes"][0]: call["weights_bytes"] for call in report["calls"]}
    assert held["conv"] == 32 * 72 // 2 + 32 * 8  # biases and multipliers
    (found,) = bundle.run(samples[0]).values()
    portable = api.export(bundle.directory / "model.onnx")
    (wanted,) = Runner(portable)(samples[0]).values()
    step = np.abs(wanted).max() / 255
    assert np.abs(found - wanted).max() <= 3 * step
    (real,) = Runner(api.export(net))(samples[0]).values()
    assert np.corrcoef(found.reshape(-1), real.reshape(-1))[0, 1] > 0.98


def test_a_recipe_says_which_layers(net, samples, tmp_path):
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(
        "- {pass: quantize}\n- {pass: quantize, targets: [gemm], args: {precision: w4a8}}\n"
    )
    options = QuantizeOptions(recipe=recipe, output=tmp_path / "q.onnx")
    api.quantize(net, samples, options=options)
    stored = onnx.load(tmp_path / "q.onnx").graph.initializer
    assert sum(v.data_type == onnx.TensorProto.INT4 and len(v.dims) == 2 for v in stored) == 1


@pytest.mark.parametrize("settings", [{}, {"method": "rtn"}], ids=["gptq", "rtn"])
def test_groups_have_scales_of_their_own(settings, rng, tmp_path):
    """Weights of one output that differ in size by group: sums are whole numbers all the same."""
    g = Graph()
    x = g.input("x", (6, 96))
    size = np.repeat(np.float32([1, 0.1, 0.03, 1, 0.3, 0.01]), 16)
    matrix = normal(rng, 96, 40) * size[:, None]
    first = g("Relu", g("Add", g("MatMul", x, matrix, name="a"), normal(rng, 40)))
    wide = (normal(rng, 50, 40), normal(rng, 50))
    model = g.proto(g("Relu", g("Gemm", first, *wide, name="b", transB=1), name="last"))
    samples = [{"x": normal(rng, 6, 96)} for _ in range(16)]
    (real,) = Runner(api.export(model))(samples[0]).values()
    lost = {}
    for group in (None, 16):
        options = BuildOptions(
            precision="w4a8", output=tmp_path / str(group), nodes_to_exclude=("b",),
            group_size=group, **settings,
        )  # fmt: skip
        bundle = api.build(model, options, calibration_dataset=samples)
        api.verify(bundle)
        (found,) = bundle.run(samples[0]).values()
        lost[group] = ((found - real) ** 2).sum()
    assert lost[16] < 0.6 * lost[None]
    stored = onnx.load(bundle.directory / "model.onnx").graph
    (node,) = (n for n in stored.node if any(a.name == "block_size" for a in n.attribute))
    kinds = {v.name: v.data_type for v in stored.initializer}
    assert kinds[node.input[0]] == onnx.TensorProto.INT4
    # The recipe that the build wrote repeats it.
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(bundle.report["facts"]["quantization"]["recipe"]))
    again = api.quantize(model, samples, options=QuantizeOptions(recipe=recipe))
    (repeated,) = Runner(again)(samples[0]).values()
    portable = Runner(api.export(bundle.directory / "model.onnx"))
    np.testing.assert_array_equal(repeated, portable(samples[0])[again.graph.outputs[0].name])


@pytest.mark.parametrize("method", ["gptq", "rtn"])
def test_a_bias_beside_which_groups_have_no_room_is_told(method, rng, tmp_path, caplog):
    g = Graph()
    x = g.input("x", (6, 96))
    tiny, bias = normal(rng, 48, 64), normal(rng, 64)
    tiny[:, 3] *= 1e-8
    bias[3] = 20
    first = g("Relu", g("Gemm", x, normal(rng, 96, 48), normal(rng, 48), name="fits"))
    second = g("Relu", g("Gemm", first, tiny, bias, name="large"))
    model = g.proto(g("Gemm", second, normal(rng, 64, 8), normal(rng, 8), name="last"))
    samples = [{"x": normal(rng, 6, 96)} for _ in range(8)]
    options = BuildOptions(
        precision="w4a8", output=tmp_path / "bundle", group_size=16, method=method
    )
    bundle = api.build(model, options, calibration_dataset=samples)
    api.verify(bundle)
    told = bundle.report["facts"]["quantization"]["one_scale_per_output"]
    assert list(told) == ["large"]
    assert told["large"].startswith("its bias is up to ")
    assert (
        f"'large' has one scale per output, not one per group: {told['large']}" in caplog.text
    )
    rows = {row["node"]: row for row in bundle.report["facts"]["weights"]}
    assert rows["large"]["note"] == f"one scale per output, not one per group: {told['large']}"
    assert "note" not in rows["fits"]
    shown = CliRunner().invoke(command, [str(bundle.directory)])
    assert told["large"] in " ".join(shown.output.split())
    blocks, held = {}, {}
    stored = onnx.load(bundle.directory / "model.onnx").graph
    arrays = {v.name: onnx.numpy_helper.to_array(v) for v in stored.initializer}
    for node in stored.node:
        weights = arrays.get(node.input[0])
        if node.op_type == "DequantizeLinear" and weights is not None and weights.ndim == 2:
            blocks[weights.shape] = [a.i for a in node.attribute if a.name == "block_size"]
            held[weights.shape] = weights.size // 2 + 4 * arrays[node.input[1]].size
    assert blocks == {(96, 48): [16], (48, 64): [], (64, 8): [16]}
    assert [row["bytes"] for row in rows.values()] == [held[96, 48], held[48, 64], held[64, 8]]
    assert (
        f"large: one scale per output, not one per group: {told['large']}"
        in (bundle.directory / "report.md").read_text()
    )


def test_a_group_size_has_to_divide(net, samples):
    with pytest.raises(EdgecompError, match="does not divide the 21 inputs of 'gemm'"):
        api.quantize(net, samples, options=QuantizeOptions(precision="w4a8", group_size=16))


def test_budgets_choose_by_layer():
    with pytest.raises(EdgecompError, match="every layer gets a precision of its own"):
        BudgetOptions(precision="w4a8", max_bytes=1000)


@pytest.mark.parametrize(("precision", "bits"), [("w8a8-dynamic", 8), ("w4a8-dynamic", 4)])
def test_products_quantized_while_the_model_runs(precision, bits, rng, tmp_path):
    g = Graph()
    x = g.input("x", (7, 37))
    first = g("Relu", g("Gemm", x, normal(rng, 90, 37), normal(rng, 90), name="a", transB=1))
    second = g("MatMul", x, normal(rng, 37, 90), name="b")
    model = g.proto(g("MatMul", g("Add", first, second), normal(rng, 90, 21), name="c"))
    bundle = api.build(model, BuildOptions(precision=precision, output=tmp_path / "bundle"))
    api.verify(bundle)
    assert f"{precision} on host: weights take 0." in bundle.report["facts"]["gain"]["summary"]
    proto = onnx.load(bundle.directory / "model.onnx")
    operators = [node.op_type for node in proto.graph.node]
    assert operators.count("DynamicQuantizeLinear") == 2  # a and b share theirs
    assert operators.count("MatMulInteger") == 3
    feeds = {"x": rng.standard_normal((7, 37)).astype(np.float32)}
    (found,) = bundle.run(feeds).values()
    (wanted,) = Runner(api.export(bundle.directory / "model.onnx"))(feeds).values()
    np.testing.assert_allclose(found, wanted, atol=0.01 * np.abs(wanted).max())
    held = [call["weights_bytes"] for call in bundle.report["calls"]]
    rounded = -(-37 // (4 if bits == 8 else 8)) * (4 if bits == 8 else 8)
    assert rounded * 96 * bits // 8 + 96 * 16 in held
    again = api.build(bundle.directory / "model.onnx", BuildOptions(output=tmp_path / "again"))
    (same,) = again.run(feeds).values()
    np.testing.assert_array_equal(same, found)


def test_groups_of_weights_of_products_quantized_while_the_model_runs(rng, tmp_path):
    g = Graph()
    size = np.repeat(np.float32([1, 0.1, 0.03]), 32)
    matrix = normal(rng, 96, 40) * size[:, None]
    g.input("x", (5, 96))
    first = g("Relu", g("Gemm", "x", matrix, normal(rng, 40), name="a"))
    wide = g("MatMul", "x", normal(rng, 96, 33), name="b")
    model = g.proto(g("Concat", first, wide, axis=1))
    feeds = {"x": rng.standard_normal((5, 96)).astype(np.float32)}
    (real,) = Runner(api.export(model))(feeds).values()
    lost = {}
    for group in (None, 32):
        options = BuildOptions(
            precision="w4a8-dynamic", group_size=group, output=tmp_path / str(group)
        )
        bundle = api.build(model, options)
        api.verify(bundle)
        (found,) = bundle.run(feeds).values()
        lost[group] = ((found - real) ** 2)[:, :40].sum()
    assert lost[32] < 0.6 * lost[None]
    path = bundle.directory / "model.onnx"
    graph = onnx.load(path).graph
    kinds = [v.data_type for v in graph.initializer if list(v.dims) == [96, 40]]
    assert kinds == [onnx.TensorProto.INT4]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(
        found, session.run(None, feeds)[0], atol=1e-3 * np.abs(real).max()
    )
    # 4 bits and a multiple for each 32, which padding to whole vectors does not fill.
    held = {
        call["nodes"][0]: call["weights_bytes"]
        for call in bundle.report["calls"]
        if call["nodes"]
    }
    assert 96 * 48 * 5 // 8 + 16 * 48 in held.values()
    rows = bundle.report["facts"]["weights"]
    assert rows[0]["bytes"] == 96 * 40 // 2 + 4 * 40 + 3 * 4 * 40
    again = api.build(path, BuildOptions(output=tmp_path / "again"))
    (same,) = again.run(feeds).values()
    np.testing.assert_array_equal(same, found)
    with pytest.raises(EdgecompError, match="does not divide the 96 inputs"):
        api.quantize(model, options=QuantizeOptions(precision="w4a8-dynamic", group_size=64))
    with pytest.raises(EdgecompError, match="the precision is w8a8-dynamic"):
        QuantizeOptions(precision="w8a8-dynamic", group_size=64)


def test_they_need_no_calibration_and_no_recipe(tmp_path):
    with pytest.raises(EdgecompError, match="needs no calibration"):
        QuantizeOptions(precision="w4a8-dynamic", calibration_data="images")


def test_products_are_rounded_for_their_inputs(rng, tmp_path):
    g = Graph()
    x = g.input("x", (12, 64))
    wide = g("Relu", g("Gemm", x, normal(rng, 80, 64), normal(rng, 80), name="a", transB=1))
    model = g.proto(g("MatMul", wide, normal(rng, 80, 40), name="b"))
    mix = rng.standard_normal((64, 64)) * np.linspace(0.1, 2, 64)
    feeds = [
        {"x": (rng.standard_normal((12, 64)) @ mix).astype(np.float32)} for _ in range(12)
    ]
    (real,) = Runner(api.export(model))(feeds[0]).values()
    lost = {}
    for method in ("rtn", "gptq"):
        options = QuantizeOptions(precision="w4a8", method=method)
        quantized = api.quantize(model, feeds, options=options)
        (found,) = Runner(quantized)(feeds[0]).values()
        lost[method] = ((found - real) ** 2).sum() / (real**2).sum()
    assert lost["gptq"] < 0.8 * lost["rtn"]
    rows = json.loads(quantized.metadata_props["edgecomp.weights"])
    assert [row["method"] for row in rows] == ["gptq", "gptq"]
    assert all(row["error"] < row["rtn_error"] for row in rows)
    stored = [v.const_value.numpy() for v in quantized.graph.initializers.values()
              if v.dtype.name == "INT4" and len(v.shape) == 2]  # fmt: skip
    assert len(stored) == 2
