"""``--precision auto`` on small models: what is chosen where, and what the result computes."""

import dataclasses
import logging

import numpy as np
import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal
from helpers.plans import PlanRunner
from helpers.targets import A53, A76, ALL, ARMV7, AVX2, AVX512, reason_not_runnable

from edgecomp import api
from edgecomp.calibrate.observe import collect_ranges
from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.compare import relative_difference
from edgecomp.graph.integer_operators import IntegerProduct
from edgecomp.graph.qdq import is_quantized, recognize
from edgecomp.graph.run import random_feeds
from edgecomp.lower.lower import lower
from edgecomp.lower.select import gpu_schedule_names
from edgecomp.options import QuantizeOptions
from edgecomp.passes.choose_precision import quantized_values
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import decide_scope
from edgecomp.plan.products import Convolution
from edgecomp.reference.interpreter import run_reference
from edgecomp.steps.choose_precision import choose_layers


def wide_convolutions(rng):
    """What 8 bits are for."""
    graph = Graph()
    x = graph.input("x", (1, 64, 14, 14))
    for _ in range(3):
        x = graph("Relu", graph("Conv", x, normal(rng, 64, 64, 1, 1) / 8))
    return graph.model(x)


def narrow_between_functions(rng):
    """A large image, few channels, and functions that only float has around each convolution."""
    graph = Graph()
    x = graph.input("x", (1, 4, 32, 32))
    for _ in range(2):
        x = graph("Softmax", graph("Conv", x, normal(rng, 4, 4, 1, 1)), axis=1)
    return graph.model(x)


def both(rng):
    """Wide convolutions, then narrow ones between functions; both ends are outputs."""
    graph = Graph()
    x = graph.input("x", (1, 96, 12, 12))
    x = graph("Relu", graph("Conv", x, normal(rng, 96, 96, 1, 1) / 10, normal(rng, 96)))
    x = graph("Conv", x, normal(rng, 96, 96, 1, 1) / 10)
    x = middle = graph("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph("Conv", graph("Sin", x), normal(rng, 4, 96, 1, 1) / 10)
    for _ in range(3):
        x = graph("Conv", graph("Softmax", x, axis=1), normal(rng, 4, 4, 1, 1))
    return graph.model(middle, x)


def choose(model, target, **options):
    options = InsertQdqOptions(**options)
    values = quantized_values(decide_scope(model.graph, options, lambda _: ""))
    feeds = [random_feeds(model, seed) for seed in range(3)]
    ranges = collect_ranges(model, feeds, values=[v.name for v in values])
    return choose_layers(model, ranges, options, target), ranges


def applied(model, choice, ranges):
    result = model.clone()
    InsertQdqPass(ranges, choice.options)(result)
    return result


def integer_products(model):
    steps = recognize(model.graph).steps
    return [s.node.name for s in steps if isinstance(s, IntegerProduct)]


@pytest.mark.parametrize("target", [AVX512, A76], ids=lambda t: t.name)
def test_wide_convolutions_become_integer(rng, target):
    choice, _ = choose(wide_convolutions(rng), target)
    assert choice.result == "int8"
    assert choice.options == InsertQdqOptions()
    assert choice.seconds["int8"] < choice.seconds["float"]
    assert choice.facts["layers_that_stay_float"] == []


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_narrow_convolutions_stay_float(rng, target):
    model = narrow_between_functions(rng)
    choice, ranges = choose(model, target)
    assert choice.result == "float"
    result = applied(model, choice, ranges)
    assert not is_quantized(result)
    assert len(choice.facts["layers_that_stay_float"]) == 2
    assert all("float" in line for line in choice.facts["layers_that_stay_float"])
    assert choice.facts["precision_choice"]["prices"] == "modelled"


def test_some_of_each(rng):
    model = both(rng)
    choice, ranges = choose(model, A76)
    assert choice.result == "mixed"
    assert choice.seconds["mixed"] <= min(choice.seconds["float"], choice.seconds["int8"])
    found = integer_products(applied(model, choice, ranges))
    products = {n.name for n in model.graph if n.op_type == "Conv"}
    wanted = [n for x in choice.layers if x.integer for n in x.nodes if n in products]
    assert found == wanted
    assert 2 <= len(found) < len(products)
    assert choice.stays_float.keys() == {
        layer.nodes[0] for layer in choice.layers if not layer.integer
    }


@pytest.mark.parametrize("target", [AVX2, AVX512], ids=lambda t: t.name)
def test_a_mixed_model_computes_what_the_reference_does(rng, target):
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    model = both(rng)
    choice, ranges = choose(model, A76)
    mixed = applied(model, choice, ranges)
    runner = PlanRunner(lower(mixed, target, name="mixed").plan)
    middle, end = (value.name for value in mixed.graph.outputs)
    for seed in range(3):
        feeds = random_feeds(model, seed)
        found, expected = runner.run(feeds), run_reference(mixed, feeds)
        np.testing.assert_array_equal(found[middle], expected[middle])
        assert relative_difference(found[end], expected[end]) < 1e-4


def test_prices_never_choose_something_slower_than_float(rng):
    for network in (wide_convolutions, narrow_between_functions, both):
        for target in (AVX2, AVX512, A53, A76, ARMV7):
            choice, _ = choose(network(rng), target)
            assert choice.seconds[choice.result] <= choice.seconds["float"]


def test_what_the_user_excludes_stays_float(rng):
    model = wide_convolutions(rng)
    first = next(n.name for n in model.graph if n.op_type == "Conv")
    choice, ranges = choose(model, AVX512, nodes_to_exclude=(first,))
    assert first not in integer_products(applied(model, choice, ranges))


def quantize(model, **options):
    samples = [random_feeds(model, seed) for seed in range(4)]
    options = QuantizeOptions(precision="auto", calibration_method="minmax", **options)
    return api.quantize(model.clone(), samples, options=options)


def test_the_portable_model_depends_on_the_target(rng, caplog):
    model = both(rng)
    mixed = quantize(model, target="raspberry-pi-5")
    assert 2 <= len(integer_products(mixed)) < sum(n.op_type == "Conv" for n in model.graph)
    assert '"result": "mixed"' in mixed.metadata_props["edgecomp.precision_choice"]
    with caplog.at_level(logging.WARNING):
        narrow = quantize(narrow_between_functions(rng), target="raspberry-pi-3")
    assert not is_quantized(narrow)
    assert "stays float" in caplog.text


def test_fully_integer_is_the_same_as_w8a8(rng):
    """Ranges of more values are observed, but those that decide the scales are the same."""
    model = wide_convolutions(rng)
    found = quantize(model, target="raspberry-pi-5")
    samples = [random_feeds(model, seed) for seed in range(4)]
    options = QuantizeOptions(precision="w8a8", calibration_method="minmax")
    wanted = api.quantize(model.clone(), samples, options=options)
    del found.metadata_props["edgecomp.precision_choice"]
    assert ir.to_proto(found).SerializeToString(deterministic=True) == ir.to_proto(
        wanted
    ).SerializeToString(deterministic=True)


def test_biases_are_corrected_where_layers_are_integer(rng):
    model = both(rng)
    corrected = quantize(model, target="raspberry-pi-5", bias_correction=True)
    assert integer_products(corrected)
    assert len(integer_products(corrected)) < sum(n.op_type == "Conv" for n in model.graph)


def test_a_target_is_needed():
    with pytest.raises(EdgecompError, match="depends on the device") as caught:
        QuantizeOptions(precision="auto")
    assert caught.value.code is Code.USAGE


class SlowIntegers:
    """A table in which integer products were measured to be slower than float ones."""

    @dataclasses.dataclass
    class Measured:
        time_ns: int

    def fastest(self, operation, target, without=()):
        assert target.name == "x86-64-v3"
        assert without == gpu_schedule_names()
        if not isinstance(operation.kind, Convolution):
            return None
        return self.Measured(1000 if operation.kind.finish is None else 3000)


def test_measured_times_count_more_than_the_model(rng):
    model = both(rng)
    options = InsertQdqOptions()
    values = quantized_values(decide_scope(model.graph, options, lambda _: ""))
    ranges = collect_ranges(model, [random_feeds(model, 0)], values=[v.name for v in values])
    choice = choose_layers(
        model, ranges, options, load_target("x86-64-v3"), table=SlowIntegers()
    )
    assert choice.result == "float"
    assert choice.facts["precision_choice"]["prices"] == "measured"
    second = next(x for x in choice.layers if x.nodes == ("n2",))
    assert second.integer_seconds == pytest.approx(3e-6)
    assert second.float_seconds == pytest.approx(1e-6)
    assert second.reason.endswith("measured")
