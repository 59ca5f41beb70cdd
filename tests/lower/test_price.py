"""Prices of whole models."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.targets import ALL, AVX512

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.graph.run import random_feeds
from edgecomp.lower.price import price_conversions, price_model
from edgecomp.lower.program import laid_out_program
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.schedules.cost_table import CostTable, Header, Measured, core_facts
from edgecomp.schedules.signature import signature


def network(rng):
    graph = Graph()
    x = graph.input("x", (1, 8, 10, 10))
    x = graph("Relu", graph("Conv", x, normal(rng, 16, 8, 3, 3), pads=[1] * 4))
    x = graph("Softmax", x, axis=1)
    x = graph("Conv", x, normal(rng, 4, 16, 1, 1))
    return graph.model(graph("Flatten", x))


@pytest.mark.parametrize("target", ALL, ids=lambda t: t.name)
def test_every_node_has_a_part(rng, target):
    model = network(rng)
    prices = price_model(model, target)
    named = {name for price in prices for name in price.nodes}
    assert named >= {n.name for n in model.graph if n.op_type != "Flatten"}
    assert all(price.modelled >= 0 and price.measured is None for price in prices)
    assert sum(price.modelled for price in prices) > 0


def test_an_integer_model_keeps_the_names_of_its_float_nodes(rng):
    model = network(rng)
    quantized = model.clone()
    InsertQdqPass(collect_ranges(model, [random_feeds(model, 0)]))(quantized)
    named = {n for price in price_model(quantized, AVX512) for n in price.nodes}
    assert named >= {n.name for n in model.graph if n.op_type in ("Conv", "Relu", "Softmax")}


def test_a_model_is_priced_without_being_changed(rng):
    model = network(rng)
    before = [(n.name, n.op_type) for n in model.graph]
    assert price_model(model, AVX512) == price_model(model, AVX512)
    assert [(n.name, n.op_type) for n in model.graph] == before


def test_the_measured_price_is_that_of_the_kernel_a_build_takes(rng):
    """In the model where a kernel was measured there, not that of the kernel alone."""
    model = network(rng)
    program = laid_out_program(model, AVX512, "m").program
    layer = next(signature(o) for o in program.operations if signature(o))
    facts = {"layer": layer, "spread": 0.0, "runs": 9, "constant_bytes": 0}
    table = CostTable(
        Header(
            target=AVX512.name,
            core=core_facts(AVX512),
            device="",
            threads=1,
            date="",
            versions={},
        ),
        [
            Measured(schedule="a", params="", ns=100, **facts),
            Measured(schedule="b", params="", ns=200, in_model_ns=300, **facts),
            Measured(schedule="c", params="", ns=150, in_model_ns=400, **facts),
        ],
    )
    measured = [p.measured for p in price_model(model, AVX512, table=table) if p.measured]
    assert measured == [pytest.approx(300e-9)]
    for operation in program.operations:
        if signature(operation) == layer:
            assert table.ranked(operation)[0].time_ns == 300
    excluded = price_model(model, AVX512, table=table, without=("b", "c"))
    assert [p.measured for p in excluded if p.measured] == [pytest.approx(100e-9)]


def test_conversions():
    shapes = {"x": (1, 3, 32, 32), "y": (1, 3, 32, 32), "z": (4, 96), "s": ()}
    prices = price_conversions(shapes, {"x"}, AVX512)
    assert prices["x"].quantize > prices["y"].quantize
    for name, shape in shapes.items():
        price = prices[name]
        assert 0 < price.dequantize <= price.quantize
        assert price.float_result < price.dequantize or not np.prod(shape)


def test_a_recurrent_net_costs_more_with_more_steps(rng):
    def seconds(steps):
        graph = Graph()
        x = graph.input("x", (steps, 1, 8))
        y, h, _ = graph(
            "LSTM", x, normal(rng, 1, 64, 8), normal(rng, 1, 64, 16), outputs=3, hidden_size=16
        )
        model = graph.model(y, h)
        return sum(price.modelled for price in price_model(model, AVX512))

    assert 0 < 4 * seconds(5) < seconds(50)
