"""Convolutions and matrix products against loops over Python integers."""

import itertools

import hypothesis
import numpy as np
import pytest
from helpers.qdq import QdqGraph, stored_numbers, weights
from hypothesis import strategies as st

from edgecomp.reference.interpreter import run_reference


def requantized(acc, multiplier, zero_point, low, high):
    t = np.float32(np.float32(acc) * np.float32(multiplier))
    t = min(max(t, np.float32(low - zero_point)), np.float32(high - zero_point))
    return int(np.rint(t)) + zero_point


def convolution_in_python(x, weight, bias, zero_x, strides, dilations, pads, groups):
    """int accumulators [N, M, OH, OW] by six loops."""
    batch, _, height, width = x.shape
    filters, per_group, kernel_h, kernel_w = weight.shape
    out_h = (height + pads[0] + pads[2] - (kernel_h - 1) * dilations[0] - 1) // strides[0] + 1
    out_w = (width + pads[1] + pads[3] - (kernel_w - 1) * dilations[1] - 1) // strides[1] + 1
    result = np.zeros((batch, filters, out_h, out_w), object)
    for n, m, i, j in itertools.product(*map(range, result.shape)):
        total = int(bias[m])
        group = m // (filters // groups)
        for c, u, v in itertools.product(range(per_group), range(kernel_h), range(kernel_w)):
            row = i * strides[0] + u * dilations[0] - pads[0]
            column = j * strides[1] + v * dilations[1] - pads[1]
            if 0 <= row < height and 0 <= column < width:
                stored = int(x[n, group * per_group + c, row, column])
                total += (stored - zero_x) * int(weight[m, c, u, v])
        result[n, m, i, j] = total
    return result


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return {
        "groups": groups,
        "per_group": draw(st.integers(1, 2)),
        "filters_per_group": draw(st.integers(1, 2)),
        "kernel": kernel,
        "dilations": dilations,
        "strides": draw(st.tuples(st.integers(1, 2), st.integers(1, 2))),
        "pads": draw(st.tuples(*[st.integers(0, 2)] * 4)),
        "size": [r + draw(st.integers(0, 3)) for r in reach],
        "zero_x": draw(st.integers(0, 255)),
        "zero_y": draw(st.integers(0, 255)),
        "relu": draw(st.booleans()),
        "seed": draw(st.integers(0, 1000)),
    }


@hypothesis.given(convolutions())
def test_convolution(case):
    rng = np.random.default_rng(case["seed"])
    groups = case["groups"]
    channels, filters = groups * case["per_group"], groups * case["filters_per_group"]
    array = weights(rng, filters, case["per_group"], *case["kernel"])
    bias = rng.integers(-3000, 3000, filters)
    scale_w = rng.uniform(0.005, 0.02, filters).astype(np.float32)
    scale_x, scale_y = np.float32(0.04), np.float32(0.5)
    graph = QdqGraph()
    shape = (2, channels, *case["size"])
    result = graph(
        "Conv",
        graph.stored("x", shape, scale_x, case["zero_x"]),
        graph.weight(array, scale_w, axis=0),
        graph.bias(bias, scale_x * scale_w),
        group=groups,
        strides=case["strides"],
        dilations=case["dilations"],
        pads=case["pads"],
    )
    result = graph("Relu", result) if case["relu"] else result
    output = graph.quantize(result, scale_y, case["zero_y"])
    x = stored_numbers(rng, shape)
    found = run_reference(graph.model(output), {"x": x})[output]
    acc = convolution_in_python(
        x,
        array,
        bias,
        case["zero_x"],
        case["strides"],
        case["dilations"],
        case["pads"],
        groups,
    )
    multiplier = (np.float64(scale_x) * np.float64(scale_w) / np.float64(scale_y)).astype("f4")
    low = case["zero_y"] if case["relu"] else 0
    expected = np.zeros(acc.shape, np.uint8)
    for place in itertools.product(*map(range, acc.shape)):
        expected[place] = requantized(
            acc[place], multiplier[place[1]], case["zero_y"], low, 255
        )
    np.testing.assert_array_equal(found, expected)


def test_ties_go_to_even(rng):
    """Scales that are powers of two put many accumulators exactly between two steps."""
    graph = QdqGraph()
    array = weights(rng, 8, 3)
    result = graph(
        "Gemm",
        graph.stored("x", (40, 3), 0.5, 128),
        graph.weight(array, 0.5, axis=None),
        transB=1,
    )
    output = graph.quantize(result, 64.0, 128)
    x = stored_numbers(rng, (40, 3))
    found = run_reference(graph.model(output), {"x": x})[output]
    acc = (x.astype(int) - 128) @ array.astype(int).T
    assert (np.abs(acc) % 256 == 128).any()  # there are ties
    expected = [[max(0, min(255, round(a / 256) + 128)) for a in row] for row in acc.tolist()]
    assert found.tolist() == expected


def test_a_product_without_requantization_is_one_float_product(rng):
    graph = QdqGraph()
    array, scale = weights(rng, 5, 4), np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    x = graph.stored("x", (2, 3, 5), 0.1, 7)
    product = graph("MatMul", x, graph.weight(array, scale, axis=1))
    output = graph("Add", product, graph.bias([5, -6, 7, -8], np.float32(0.1) * scale))
    stored = stored_numbers(rng, (2, 3, 5))
    found = run_reference(graph.model(output), {"x": stored})[output]
    acc = (stored.astype(int) - 7) @ array.astype(int) + [5, -6, 7, -8]
    factor = (np.float64(np.float32(0.1)) * scale.astype(np.float64)).astype(np.float32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, acc.astype(np.float32) * factor)


@pytest.mark.parametrize("spatial", [(9,), (4, 5, 6)])
def test_other_numbers_of_dimensions_equal_onnxruntime(rng, spatial):
    from edgecomp.graph.run import run_model

    graph = QdqGraph()
    kernel = (3,) * len(spatial)
    result = graph(
        "Conv",
        graph.stored("x", (1, 2, *spatial), 0.25, 100),
        graph.weight(weights(rng, 4, 2, *kernel), 0.5),
        pads=[1] * 2 * len(spatial),
    )
    output = graph.quantize(result, 16.0, 100)
    feeds = {"x": stored_numbers(rng, (1, 2, *spatial))}
    model = graph.model(output)
    # All scales are powers of two: onnxruntime's float arithmetic is exact as well.
    np.testing.assert_array_equal(
        run_reference(model, feeds)[output], run_model(model, feeds)[output]
    )
