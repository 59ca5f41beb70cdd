"""Layers with weights of few bits beside layers in 8-bit integers, by a recipe."""

import json

import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal
from helpers.plans import PlanRunner
from helpers.targets import AVX2, AVX512, reason_not_runnable

from edgecomp import api
from edgecomp.compress.grid import WeightForm
from edgecomp.compress.weight_layers import store_layers
from edgecomp.errors import EdgecompError
from edgecomp.graph.run import Runner
from edgecomp.lower.lower import lower
from edgecomp.lower.price import price_model
from edgecomp.options import BudgetOptions, QuantizeOptions
from edgecomp.reference.interpreter import run_reference
from edgecomp.steps.budget_measure import weight_bytes

NAMES = ("a", "b", "c", "d")


def perceptron(rng, width=64):
    """Four products with bias and Relu; three bits fewer than eight spoil b."""
    graph = Graph()
    x = graph.input("x", (1, 16, width))
    for name in NAMES:
        product = graph("MatMul", x, normal(rng, width, width) / 8, name=name)
        biased = graph("Add", product, normal(rng, width), name=f"{name}_add")
        x = graph("Relu", biased, name=f"{name}_relu")
    return graph.model(x)


@pytest.fixture
def samples(rng):
    return [{"x": normal(rng, 1, 16, 64)} for _ in range(12)]


def recipe_file(tmp_path, **precisions):
    steps = [{"pass": "quantize"}]
    for name, precision in precisions.items():
        nodes = [name, f"{name}_add", f"{name}_relu"]
        steps.append({"pass": "quantize", "targets": nodes, "args": {"precision": precision}})
    path = tmp_path / "r.json"
    path.write_text(json.dumps(steps))
    return path


def types(model):
    """Element type of each product's stored weights."""
    found = {}
    for node in model.graph:
        maker = node.inputs[1].producer() if node.op_type == "MatMul" else None
        if maker is not None:
            found[node.name] = maker.inputs[0].dtype.name
    return found


@pytest.mark.parametrize("target", [AVX2, AVX512], ids=lambda t: t.name)
def test_side_by_side(rng, samples, tmp_path, target):
    model = perceptron(rng)
    path = recipe_file(tmp_path, b="w4a16", c="w8a16")
    mixed = api.quantize(model.clone(), samples, options=QuantizeOptions(recipe=path))
    assert types(mixed) == {"a": "INT8", "b": "INT4", "c": "INT8", "d": "INT8"}
    expected, found = (run(mixed, samples[0]) for run in (run_reference, run_with_onnxruntime))
    (name,) = expected
    np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-4)
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    results = PlanRunner(lower(mixed, target, name="mixed").plan).run(samples[0])
    np.testing.assert_allclose(results[name], expected[name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "precision", ["bf16", "fp8", "log2", "w2a16", "w8a8-dynamic", "w4a8-dynamic"]
)
def test_a_layer_has_any_precision(rng, samples, tmp_path, precision):
    """Beside integer layers, from a recipe to kernels; 2 bits lose most."""
    model = perceptron(rng)
    (name,) = (value.name for value in model.graph.outputs)
    real = run_with_onnxruntime(model, samples[0])[name]
    path = recipe_file(tmp_path, b=precision, d=precision)
    mixed = api.quantize(model.clone(), samples, options=QuantizeOptions(recipe=path))
    wanted = run_with_onnxruntime(mixed, samples[0])[name]
    noise = ((wanted - real) ** 2).sum() / (real**2).sum()
    assert noise < (0.2 if "2" in precision or precision == "log2" else 0.02)
    if reason := reason_not_runnable(AVX2):
        pytest.skip(reason)
    found = PlanRunner(lower(mixed, AVX2, name="mixed").plan).run(samples[0])[name]
    # What lies between two stored numbers may become either.
    assert ((found - wanted) ** 2).sum() < 1e-3 * (real**2).sum()


def run_with_onnxruntime(model, feeds):
    return Runner(model)(feeds)


def test_a_layer_depends_on_no_other(rng, samples, tmp_path):
    """Its stored numbers are the same whatever the others are."""
    model = perceptron(rng)
    numbers = []
    for others in ({}, {"a": "w8a16", "c": "w4a16"}):
        path = recipe_file(tmp_path, b="w4a16", **others)
        found = api.quantize(model.clone(), samples, options=QuantizeOptions(recipe=path))
        (node,) = (n for n in found.graph if n.name == "b")
        numbers.append(node.inputs[1].producer().inputs[0].const_value.numpy())
    np.testing.assert_array_equal(*numbers)


def stored_numbers(model):
    """Stored weights of each product."""
    makers = {n.name: n.inputs[1].producer() for n in model.graph if n.op_type == "MatMul"}
    return {name: maker.inputs[0].const_value.numpy() for name, maker in makers.items()}


@pytest.mark.parametrize("precision", ["w4a16", "w4a8"])
def test_a_layer_has_its_own_method(rng, samples, tmp_path, precision):
    model, path = perceptron(rng), tmp_path / "r.json"

    def numbers(*steps, **flags):
        path.write_text(
            json.dumps([{"pass": "quantize", "args": {"precision": precision}}, *steps])
        )
        options = QuantizeOptions(recipe=path, **flags)
        return stored_numbers(api.quantize(model.clone(), samples, options=options))

    def method(name, **targets):
        return {"pass": "quantize", **targets, "args": {"method": name}}

    learned, nearest = numbers(), numbers(method("rtn"))
    assert not any(np.array_equal(learned[name], nearest[name]) for name in NAMES)
    mixed = numbers(method("round-to-nearest", targets=["b"]))
    for name in NAMES:
        np.testing.assert_array_equal(mixed[name], (nearest if name == "b" else learned)[name])
    mixed = numbers(method("gptq", targets=["b"]), method="rtn")
    for name in NAMES:
        np.testing.assert_array_equal(mixed[name], (learned if name == "b" else nearest)[name])


@pytest.mark.parametrize("precision", ["w4a16", "w4a8"])
def test_made_up_inputs_round_to_nearest(rng, tmp_path, precision):
    """They say nothing about what a layer will read; whoever asks for GPTQ is told so."""
    model, path = perceptron(rng), tmp_path / "r.json"
    first = {"pass": "quantize", "args": {"precision": precision}}
    found = []
    for steps in ([first], [first, {"pass": "quantize", "args": {"method": "rtn"}}]):
        path.write_text(json.dumps(steps))
        options = QuantizeOptions(recipe=path, data_free=True)
        found.append(stored_numbers(api.quantize(model.clone(), options=options)))
    for name in NAMES:
        np.testing.assert_array_equal(found[0][name], found[1][name])
    first["args"]["method"] = "gptq"
    path.write_text(json.dumps([first]))
    with pytest.raises(EdgecompError, match=r"method gptq: .* made-up"):
        api.quantize(model, options=QuantizeOptions(recipe=path, data_free=True))


def test_what_has_no_such_form_stays_float(rng, samples, tmp_path):
    path = recipe_file(tmp_path)
    path.write_text('[{"pass": "quantize", "args": {"precision": "w4a16"}}]')
    graph = Graph()
    x = graph("Conv", graph.input("x", (1, 4, 8, 8)), normal(rng, 4, 4, 3, 3), name="conv")
    model = graph.model(graph("MatMul", x, normal(rng, 6, 32), name="product"))
    data = [{"x": normal(rng, 1, 4, 8, 8)}]
    found = api.quantize(model, data, options=QuantizeOptions(recipe=path))
    assert [n.op_type for n in found.graph] == ["Conv", "DequantizeLinear", "MatMul"]


def test_unknown_precisions_are_refused(rng, samples, tmp_path):
    path = recipe_file(tmp_path, b="w4a4")
    with pytest.raises(EdgecompError, match="'w4a4' is unknown"):
        api.quantize(perceptron(rng), samples, options=QuantizeOptions(recipe=path))


def test_every_product_with_packed_weights_has_a_price(rng):
    model = perceptron(rng)
    products = [node for node in model.graph if node.op_type == "MatMul"]
    form = WeightForm(bits=4, group=32, symmetric=True, ranges="minmax")
    stored = store_layers(model, products, form)
    from edgecomp.passes.store_weights import StoreWeightsPass

    StoreWeightsPass({name: each.weights for name, each in stored.items()})(model)
    assert all(price.modelled > 0 for price in price_model(model, AVX512))


def test_few_bytes_take_few_bits(rng, samples, tmp_path):
    """Below what 8 bits take, some layers get 4; the bytes are those that are stored."""
    model = perceptron(rng)
    whole = weight_bytes(api.quantize(model.clone(), samples))
    limit = round(0.8 * whole)
    options = BudgetOptions(precision="w8a8", max_bytes=limit)
    chosen, report = api.within_budget(
        model.clone(), options, calibration_dataset=samples, recipe=tmp_path / "r.yaml"
    )
    assert report.best.bytes <= limit
    assert report.best.precisions["w4a16"] >= 1
    built = api.quantize(model.clone(), samples, options=chosen)
    assert weight_bytes(built) == report.best.bytes
    assert ir.DataType.INT4.name in types(built).values()
