"""Recipes take effect, layer by layer, and a build can be repeated from the one it wrote."""

import json

import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal

from edgecomp import api
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions, QuantizeOptions
from edgecomp.progress import silent
from edgecomp.recipe.read import read_recipe, recipe_of
from edgecomp.steps.quantize import insert_quantization
from edgecomp.steps.recipe import whole_recipe

NARROW = {"calibration_method": "percentile", "calibration_percentile": 80.0}


@pytest.fixture
def model(rng):
    g = Graph()
    x = g.input("x", (1, 3, 8, 8))
    spread = np.exp2(rng.integers(-3, 4, (6, 1, 1, 1))).astype(np.float32)
    first = g("Conv", x, normal(rng, 6, 3, 3, 3) * spread, normal(rng, 6), name="a")
    a = g("Relu", first, name="ra")
    b = g("Relu", g("Conv", a, normal(rng, 6, 6, 1, 1), normal(rng, 6), name="b"), name="rb")
    p = g("MaxPool", b, kernel_shape=[2, 2], name="pool")
    return g.model(g("Conv", p, normal(rng, 4, 6, 1, 1), normal(rng, 4), name="c"))


@pytest.fixture
def samples(rng):
    return [{"x": normal(rng, 1, 3, 8, 8) ** 3} for _ in range(6)]


def write(path, steps):
    path.write_text(json.dumps(steps))
    return path


def quantize(model, samples, tmp_path, *steps, **settings):
    recipe = write(tmp_path / "r.json", list(steps)) if steps else None
    options = QuantizeOptions(**{"precision": "w8a8", "recipe": recipe, **settings})
    return api.quantize(model.clone(), samples, options=options)


def scales(model):
    """Scale of the input of every product that reads a stored one, by the node's name."""
    found = {}
    for node in model.graph:
        if node.op_type == "Conv":
            producer = node.inputs[0].producer()
            if producer is not None and producer.op_type == "DequantizeLinear":
                found[node.name] = float(producer.inputs[1].const_value.numpy())
    return found


def weight_scales(model):
    nodes = [node for node in model.graph if node.op_type == "Conv"]
    makers = {node.name: node.inputs[1].producer() for node in nodes}
    return {name: m.inputs[1].const_value.numpy().size for name, m in makers.items() if m}


def test_a_layer_has_its_own_range_method(model, samples, tmp_path):
    plain = scales(quantize(model, samples, tmp_path))
    narrow = scales(quantize(model, samples, tmp_path, **NARROW))
    step = {"pass": "quantize", "targets": ["b"], "args": NARROW}
    found = scales(quantize(model, samples, tmp_path, step))
    assert narrow["b"] < 0.9 * plain["b"]
    assert found == {**plain, "b": narrow["b"]}


def test_the_range_behind_a_pool_is_that_before_it(model, samples, tmp_path):
    plain = scales(quantize(model, samples, tmp_path))
    narrow = scales(quantize(model, samples, tmp_path, **NARROW))
    step = {"pass": "quantize", "targets": ["c"], "args": NARROW}
    assert scales(quantize(model, samples, tmp_path, step)) == {**plain, "c": narrow["c"]}
    assert narrow["c"] < 0.9 * plain["c"]


def test_a_layer_stays_float(model, samples, tmp_path):
    found = quantize(model, samples, tmp_path, {"pass": "float", "targets": ["b"]})
    assert set(scales(found)) == {"a", "c"}
    # Its Relu is not named: it stays with its product, and nothing is stored between.
    by_name = {node.name: node for node in found.graph}
    assert by_name["rb"].inputs[0].producer() is by_name["b"]


def test_only_one_layer_is_quantized(model, samples, tmp_path):
    steps = [{"pass": "quantize", "targets": ["b"]}]
    found = quantize(model, samples, tmp_path, *steps, precision="fp32")
    assert set(scales(found)) == {"b"}
    by_types = quantize(model, samples, tmp_path, {"pass": "float"}, *steps)
    assert scales(by_types) == scales(found)


def test_weights_of_one_layer_have_one_scale(model, samples, tmp_path):
    step = {"pass": "quantize", "targets": ["b"], "args": {"per_channel": False}}
    assert weight_scales(quantize(model, samples, tmp_path, step)) == {"a": 6, "b": 1, "c": 4}
    back = {"pass": "quantize", "targets": ["b"], "args": {"per_channel": True}}
    found = quantize(model, samples, tmp_path, back, per_channel=False)
    assert weight_scales(found) == {"a": 1, "b": 6, "c": 1}


def test_the_bias_of_one_layer_is_corrected(model, samples, tmp_path):
    plain = quantize(model, samples, tmp_path)
    found = quantize(model, samples, tmp_path, {"pass": "bias_correction", "targets": ["b"]})
    biases = [
        {n.name: n.inputs[2].producer().inputs[0].const_value.numpy() for n in m.graph
         if n.op_type == "Conv"}
        for m in (plain, found)
    ]  # fmt: skip
    differ = {name for name, bias in biases[0].items() if (bias != biases[1][name]).any()}
    assert differ == {"b"}


def constants(model):
    """What the weights of products say, in float."""
    return {
        node.name: node.inputs[1].producer().inputs[0].const_value.numpy()
        for node in model.graph
        if node.op_type == "Conv"
    }


def changed(one, other):
    before, after = constants(one), constants(other)
    return {name for name, array in before.items() if (array != after[name]).any()}


def test_weights_of_one_layer_are_rounded_otherwise(model, samples, tmp_path):
    plain = quantize(model, samples, tmp_path)
    step = {"pass": "weight_rounding", "targets": ["b"]}
    assert changed(plain, quantize(model, samples, tmp_path, step)) == {"b"}
    back = {"pass": "weight_rounding", "ignore": ["b"], "args": {"method": "nearest"}}
    found = quantize(model, samples, tmp_path, back, weight_rounding="adaround")
    assert changed(plain, found) == {"b"}


def facts(model, samples, tmp_path, *steps):
    recipe = write(tmp_path / "r.json", list(steps))
    options = QuantizeOptions(precision="w8a8", recipe=recipe)
    found = insert_quantization(
        model.clone(), options, silent, samples, recipe=read_recipe(recipe)
    )
    return found.facts["quantization"]


def test_scales_move_between_the_layers_that_are_named(model, samples, tmp_path):
    both = facts(model, samples, tmp_path, {"pass": "equalize", "targets": ["a", "b"]})
    assert [line.split(":")[0] for line in both["equalized"]["layers"]] == ["a"]
    assert both["equalized"]["refused"] == [
        "b: it shares channels with layers that are no targets"
    ]
    steps = [
        {"pass": "smooth_quant", "args": {"alpha": 0.5}},
        {"pass": "smooth_quant", "targets": ["b"], "args": {"alpha": 1}},
    ]
    found = facts(model, samples, tmp_path, *steps)["smoothed"]["layers"]
    assert sorted(line.split(":")[0] + line[-3:] for line in found) == ["aa 1", "b0.5"]
    off = {"pass": "smooth_quant", "args": {"enabled": False}}
    assert "smoothed" not in facts(model, samples, tmp_path, *steps, off)


def test_of_two_readers_the_later_step_decides(rng, samples, tmp_path):
    g = Graph()
    x = g.input("x", (1, 3, 8, 8))
    one = g("Conv", x, normal(rng, 2, 3, 1, 1), name="one")
    two = g("Conv", x, normal(rng, 2, 3, 1, 1), name="two")
    model = g.model(one, two)

    def step(name, method):
        return {"pass": "quantize", "targets": [name], "args": {"calibration_method": method}}

    methods = {
        m: scales(quantize(model, samples, tmp_path, calibration_method=m))["one"]
        for m in ("minmax", "mse", "entropy")
    }
    steps = [step("one", "minmax"), step("two", "entropy")]
    assert scales(quantize(model, samples, tmp_path, *steps))["one"] == methods["entropy"]
    assert scales(quantize(model, samples, tmp_path, *steps[::-1]))["one"] == methods["minmax"]
    assert scales(quantize(model, samples, tmp_path, steps[0]))["two"] == methods["minmax"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"calibration_method": "percentile", "calibration_percentile": 99.0},
        {"per_channel": False, "bias_correction": True, "nodes_to_exclude": ("a",)},
        {"op_types_to_quantize": ("Conv",)},
        {"equalize": True, "weight_rounding": "adaround"},
        {"smooth_quant": "auto"},
        {"smooth_quant": "0.5"},
    ],
)
@pytest.mark.parametrize(
    ("steps", "suffix"), [([], "json"), ([{"pass": "float", "targets": ["re:b"]}], "yaml")]
)
def test_the_saved_recipe_repeats_the_model(model, samples, tmp_path, settings, steps, suffix):
    saved = tmp_path / f"saved.{suffix}"
    first = quantize(model, samples, tmp_path, *steps, save_recipe=saved, **settings)
    assert json.loads(first.metadata_props["edgecomp.recipe"]) == read_recipe(saved).as_list()
    if settings.keys() & {"equalize", "smooth_quant"}:  # there was something to repeat
        assert bits(first) != bits(quantize(model, samples, tmp_path, *steps))
    # The saved recipe alone says everything: the flags are others.
    options = QuantizeOptions(recipe=saved, calibration_method="minmax")
    again = api.quantize(model.clone(), samples, options=options)
    assert bits(again) == bits(first)


def test_the_saved_recipe_repeats_what_auto_chose(rng, tmp_path):
    g = Graph()
    x = g.input("x", (1, 16, 28, 28))
    for number in range(3):  # few channels stay float, many do not
        width = (16, 512, 512, 4)[number + 1]
        depth = (16, 512, 512)[number]
        x = g("Relu", g("Conv", x, normal(rng, width, depth, 1, 1) / 9, name=f"c{number}"))
    model = g.model(x)
    samples = [{"x": normal(rng, 1, 16, 28, 28)} for _ in range(2)]
    saved = tmp_path / "auto.yaml"
    found = quantize(
        model, samples, tmp_path, precision="auto", target="raspberry-pi-4", save_recipe=saved
    )
    again = api.quantize(model.clone(), samples, options=QuantizeOptions(recipe=saved))
    assert bits(again) == bits(found)


def bits(model):
    return [
        (node.op_type, [None if v is None or v.const_value is None else
         v.const_value.numpy().tobytes() for v in node.inputs])
        for node in model.graph
    ]  # fmt: skip


def test_a_bundle_holds_its_recipe(model, samples, tmp_path):
    recipe = write(
        tmp_path / "r.json", [{"pass": "quantize"}, {"pass": "float", "targets": ["b"]}]
    )
    options = BuildOptions(recipe=recipe, output=tmp_path / "bundle", toolchain="none")
    bundle = api.build(model.clone(), options, calibration_dataset=samples)
    held = recipe_of(bundle.manifest.quantization["recipe"])
    expected = whole_recipe(QuantizeOptions(), read_recipe(recipe), floats=True)
    assert held.as_list() == expected.as_list()
    assert "b" in bundle.manifest.quantization["stay_float"]
    portable = ir.load(bundle.directory / "model.onnx")
    assert json.loads(portable.metadata_props["edgecomp.recipe"]) == held.as_list()


def test_scales_do_not_move_without_data(model, tmp_path):
    for name in ("equalize", "smooth_quant"):
        with pytest.raises(EdgecompError, match="--data-free: not together") as caught:
            quantize(model, None, tmp_path, {"pass": name}, data_free=True)
        assert caught.value.code is Code.RECIPE_INVALID


def test_mistakes(model, samples, tmp_path):
    with pytest.raises(EdgecompError, match="no step of the recipe quantizes") as caught:
        quantize(model, samples, tmp_path, {"pass": "float"}, precision="fp32")
    assert caught.value.code is Code.RECIPE_INVALID
    with pytest.raises(EdgecompError, match="'bb' matches no node"):
        quantize(model, samples, tmp_path, {"pass": "float", "targets": ["bb"]})
    for precision in ("fp32", "w4a16"):
        with pytest.raises(EdgecompError, match="--save-recipe") as caught:
            QuantizeOptions(precision=precision, save_recipe=tmp_path / "s.yaml")
        assert caught.value.code is Code.USAGE
    for precision in ("w4a16", "fp16"):
        with pytest.raises(EdgecompError, match="no settings by layer"):
            quantize(model, samples, tmp_path, {"pass": "quantize"}, precision=precision)
    given = quantize(model, samples, tmp_path)  # has its numbers already
    files = {"save_recipe": tmp_path / "s.yaml", "output": tmp_path / "q.onnx"}
    with pytest.raises(EdgecompError, match="there is no recipe of it"):
        quantize(given, samples, tmp_path, **files)
    assert not any(path.exists() for path in files.values())
