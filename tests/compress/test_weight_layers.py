"""Layers stored one after the other: on whose inputs, with which matrices, in how much memory."""

import numpy as np
import onnx_ir as ir
import pytest
from helpers.correlated import correlated
from helpers.graphs import Graph, normal

from edgecomp.calibrate.values_in_order import ValuesInOrder
from edgecomp.compress.gptq import gptq, output_error
from edgecomp.compress.grid import WeightForm
from edgecomp.compress.round_to_nearest import round_to_nearest
from edgecomp.compress.weight_layers import hessian_of, store_layers
from edgecomp.graph.run import run_model

FORM = WeightForm(bits=3, group=16)


@pytest.fixture
def network(rng):
    """Query and key of one value, a residual, a layer behind them, and one matrix twice."""
    g = Graph()
    x = g.input("x", (1, 5, 32))
    query = g("MatMul", x, normal(rng, 32, 24), name="query")
    key = g("MatMul", x, normal(rng, 32, 24), name="key")
    hidden = g("Tanh", g("Mul", query, key), name="tanh")
    up = g("MatMul", hidden, normal(rng, 24, 32), name="up")
    shared = g.constant(normal(rng, 32, 32), "shared")
    first = g("MatMul", g("Add", up, x), shared, name="first")
    second = g("MatMul", g("Relu", first), shared, name="second")
    return g.model(second)


@pytest.fixture
def samples(rng):
    rows = correlated(rng, 60, 32).astype(np.float32)
    return [{"x": part[None]} for part in np.split(rows, 12)]


def products(model):
    return [node for node in model.graph if node.op_type == "MatMul"]


def test_values_of_every_sample_are_those_of_the_whole_model(network, samples):
    values = {node.name: node.outputs[0] for node in network.graph}
    wanted = [network.graph.inputs[0], values["tanh"], values["tanh"], values["first"]]
    for memory_bytes in (1 << 20, 0):
        inputs = ValuesInOrder(network, samples, memory_bytes)
        for value in wanted:
            for found, sample in zip(inputs.of(value), samples, strict=True):
                if value.is_graph_input():
                    expected = sample["x"]
                else:
                    expected = run_model(network, sample, [value.name])[value.name]
                np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_kept_samples_are_read_once_and_others_for_every_value(network, samples):
    class Counted:
        rounds = 0

        def __iter__(self):
            self.rounds += 1
            return iter(samples)

    values = {node.name: node.outputs[0] for node in network.graph}
    for memory_bytes, rounds in ((1 << 20, 1), (2000, 3)):
        counted = Counted()
        inputs = ValuesInOrder(network, counted, memory_bytes)
        for name in ("query", "tanh", "up"):
            assert len(list(inputs.of(values[name]))) == len(samples)
        assert counted.rounds == rounds


@pytest.mark.parametrize("memory_bytes", [1 << 20, 0])
def test_a_layer_sees_what_stored_layers_before_it_give(network, samples, memory_bytes):
    stored = store_layers(
        network, products(network), FORM, method="gptq", samples=samples,
        memory_bytes=memory_bytes,
    )  # fmt: skip
    assert set(stored) == {"query", "key", "up", "first", "second"}
    changed = network.clone()
    for node in changed.graph:
        if node.name in ("query", "key"):
            real = stored[node.name].weights.real()
            changed.graph.initializers[node.inputs[1].name].const_value = ir.tensor(real)
    rows = np.concatenate([run_model(changed, s, ["v3"])["v3"] for s in samples])
    hessian = hessian_of([rows])
    weight = next(n for n in network.graph if n.name == "up").inputs[1].const_value.numpy()
    weight = weight.astype(np.float64)
    np.testing.assert_array_equal(
        stored["up"].weights.numbers, gptq(weight, hessian, FORM).numbers
    )
    control = output_error(weight, round_to_nearest(weight, FORM), hessian)
    assert stored["up"].control == pytest.approx(control, rel=1e-4)
    assert stored["up"].error < control
    assert stored["up"].method == "gptq"


def test_the_model_stays_and_a_shared_matrix_is_stored_once(network, samples):
    before = run_model(network, samples[0])
    stored = store_layers(network, products(network), FORM, method="gptq", samples=samples)
    assert stored["first"].weights is stored["second"].weights
    np.testing.assert_array_equal(
        *(next(iter(r.values())) for r in (before, run_model(network, samples[0])))
    )


def test_rounding_to_nearest_needs_no_samples_and_with_them_tells_its_error(network, samples):
    alone = store_layers(network, products(network), FORM)
    assert {layer.error for layer in alone.values()} == {None}
    seen = store_layers(network, products(network), FORM, samples=samples)
    for name, layer in seen.items():
        np.testing.assert_array_equal(layer.weights.numbers, alone[name].weights.numbers)
        assert 0 < layer.error == layer.control


def test_inputs_that_are_not_finite(network, samples):
    bad = [{"x": np.full_like(samples[0]["x"], np.inf)}]
    stored = store_layers(network, products(network), FORM, method="gptq", samples=bad)
    assert stored["query"].method == "rtn"
    assert "NaN" in stored["query"].note


def test_progress_and_layers_that_are_left_out(network, samples):
    told = []
    chosen = [node for node in products(network) if node.name != "key"]
    stored = store_layers(
        network, chosen, FORM, method="gptq", samples=samples,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert "key" not in stored
    assert told == [(n, 4) for n in range(1, 5)]
