"""Bias correction: the mean error of every quantized product goes away, the rest stays."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal
from helpers.models import digits, digits_data

from edgecomp import api
from edgecomp.calibrate.observe import collect_ranges
from edgecomp.errors import EdgecompError
from edgecomp.graph.constants import constant_array
from edgecomp.graph.edit import set_constant_input
from edgecomp.graph.run import Runner, random_feeds
from edgecomp.graph.source import source_of
from edgecomp.graph.verify import verify
from edgecomp.options import QuantizeOptions
from edgecomp.passes.correct_bias import correct_bias
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import values_to_observe

#: Per tensor, so that there is an error worth correcting.
OPTIONS = InsertQdqOptions(per_channel=False)


def convolutions(rng):
    """Three convolutions with and without bias, a residual sum, a classifier."""
    graph = Graph()
    x = graph.input("x", (1, 4, 9, 9))
    scales = np.exp(normal(rng, 8, 1, 1, 1)).astype(np.float32)
    first = graph(
        "Relu",
        graph("Conv", x, normal(rng, 8, 4, 3, 3) * scales, normal(rng, 8), pads=[1] * 4),
    )
    second = graph(
        "Relu", graph("Conv", first, normal(rng, 8, 1, 3, 3), group=8, pads=[1] * 4)
    )
    total = graph("Add", first, second)
    mean = graph(
        "Flatten", graph("GlobalAveragePool", graph("Conv", total, normal(rng, 6, 8, 1, 1)))
    )
    return graph, graph("Gemm", mean, normal(rng, 6, 5), normal(rng, 5))


def products(rng):
    """MatMul with and without a bias behind it."""
    graph = Graph()
    x = graph.input("x", (1, 7, 16))
    hidden = graph(
        "Relu", graph("Add", graph("MatMul", x, normal(rng, 16, 32)), normal(rng, 32))
    )
    return graph, graph("MatMul", hidden, normal(rng, 32, 8))


def random_feeds_of(model, count):
    return [dict(random_feeds(model, seed=seed)) for seed in range(count)]


def results(model, feeds, name):
    """The mean of a float value per channel over feeds."""
    runner = Runner(model, [name])
    arrays = [runner(feed)[name].astype(np.float64) for feed in feeds]
    axis = 1 if arrays[0].ndim == 4 else arrays[0].ndim - 1
    others = tuple(a for a in range(arrays[0].ndim) if a != axis)
    return np.mean([array.mean(others) for array in arrays], axis=0)


@pytest.mark.parametrize("network", [convolutions, products])
@pytest.mark.parametrize("seed", range(3))
def test_no_channel_keeps_a_mean_error(network, seed):
    rng = np.random.default_rng(seed)
    graph, output = network(rng)
    model = graph.model(output)
    feeds = [random_feeds(model, number) for number in range(16)]
    ranges = collect_ranges(model, feeds, values=values_to_observe(model.graph, OPTIONS))
    plain, corrected = model.clone(), model.clone()
    count = correct_bias(corrected, feeds, ranges, OPTIONS)
    assert count == sum(n.op_type in ("Conv", "Gemm", "MatMul") for n in model.graph)
    verify(corrected)
    assert all(source_of(node) for node in corrected.graph)
    for each in (plain, corrected):
        InsertQdqPass(ranges, OPTIONS)(each)
    expected = results(model, feeds, output)
    errors = [np.abs(results(m, feeds, output) - expected).max() for m in (plain, corrected)]
    # Biases are stored in whole steps, and five scores per sample are few: something stays.
    assert errors[1] < 0.5 * errors[0]


def test_weights_that_were_rounded_before_are_corrected_too(rng):
    graph, output = products(rng)
    model = graph.model(output)
    feeds = [random_feeds(model, number) for number in range(16)]
    ranges = collect_ranges(model, feeds, values=values_to_observe(model.graph, OPTIONS))
    rounded = model.clone()
    for node in rounded.graph:
        if node.op_type == "MatMul":  # to few numbers, and all of them upwards
            set_constant_input(node, 1, np.ceil(4 * constant_array(node.inputs[1])) / 4)
    errors = []
    for reference in (None, model):
        corrected = rounded.clone()
        correct_bias(corrected, feeds, ranges, OPTIONS, reference=reference)
        InsertQdqPass(ranges, OPTIONS)(corrected)
        expected = results(model, feeds, output)
        errors.append(np.abs(results(corrected, feeds, output) - expected).max())
    assert errors[1] < 0.05 * errors[0]


def test_samples_of_a_stream_are_read_once(rng):
    graph, output = products(rng)
    model = graph.model(output)
    feeds = [random_feeds(model, number) for number in range(3)]
    ranges = collect_ranges(model, feeds, values=values_to_observe(model.graph, OPTIONS))
    seen = []

    def stream():
        for feed in feeds:
            seen.append(1)
            yield feed

    assert correct_bias(model, stream(), ranges, OPTIONS) == 2
    assert len(seen) == 3


def test_where_few_samples_fit_they_come_from_all_parts_of_the_set(rng, monkeypatch):
    """Twelve samples, of which the last third are others: four fit."""
    graph, name = convolutions(rng)
    model = graph.model(name)
    feeds = random_feeds_of(model, 12)
    for feed in feeds[8:]:
        feed["x"] *= 3.0
    ranges = collect_ranges(model, feeds, values=values_to_observe(model.graph, OPTIONS))
    largest = 8 * 9 * 9
    monkeypatch.setattr("edgecomp.passes.correct_bias.MOST_BYTES", 4 * 16 * largest)

    def shifts_of(samples):
        shifts = {}
        correct_bias(model.clone(), samples, ranges, OPTIONS, shifts=shifts)
        return shifts

    found = shifts_of(feeds)
    spread, first = shifts_of(feeds[::3]), shifts_of(feeds[:4])
    for name, shift in found.items():
        np.testing.assert_array_equal(shift, spread[name])
    assert any(not np.array_equal(shift, first[name]) for name, shift in found.items())


def test_nothing_is_integer(rng):
    graph = Graph()
    model = graph.model(graph("Softmax", graph.input("x", (2, 3))))
    assert correct_bias(model, [random_feeds(model)], {}, OPTIONS) == 0


def test_digits_lose_less(rng, figure):
    model = digits()
    name = model.graph.inputs[0].name
    images, _, calibration = digits_data()
    samples = [{name: image[None]} for image in calibration]
    expected = outputs(model, name, images[:300])
    found = {}
    for correction in (False, True):
        options = QuantizeOptions(precision="w8a8", bias_correction=correction)
        result = api.quantize(model.clone(), samples, options=options)
        found[correction] = signal_to_noise(outputs(result, name, images[:300]), expected)
    figure(
        "digits int8, signal to noise of the scores without and with --bias-correction",
        f"{found[False]:.1f} and {found[True]:.1f} dB",
    )
    assert found[True] > found[False] + 1


def outputs(model, name, images):
    runner = Runner(model)
    return np.concatenate([runner({name: image[None]})[runner.names[0]] for image in images])


def signal_to_noise(found, expected):
    error = (found.astype(np.float64) - expected) ** 2
    return 10 * np.log10((expected.astype(np.float64) ** 2).sum() / error.sum())


def test_a_float_build_refuses_it():
    with pytest.raises(EdgecompError):
        QuantizeOptions(precision="fp32", bias_correction=True)
