"""Small float models made of integers, and whether these mean the same."""

import collections

import numpy as np
import onnx_ir as ir

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.graph.integer_operators import (
    IntegerOperator,
)
from edgecomp.graph.qdq import recognize
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.graph.verify import verify
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import values_to_observe
from edgecomp.reference.interpreter import run_reference
from helpers.graphs import Graph, normal


def quantized(model, *, seeds=range(4), ranges=None, **options):
    """A quantized copy, calibrated on random inputs, and the pass."""
    options = InsertQdqOptions(**options)
    if ranges is None:
        feeds = [random_feeds(model, seed) for seed in seeds]
        ranges = collect_ranges(model, feeds, values=values_to_observe(model.graph, options))
    result = model.clone()
    each = InsertQdqPass(ranges, options)
    each(result)
    verify(result)
    return result, each


def integer_types(model):
    """Operator types computed in integers, and those left, without edges."""
    steps = recognize(model.graph).steps
    integer = [s.node.op_type for s in steps if isinstance(s, IntegerOperator)]
    left = [s.op_type for s in steps if isinstance(s, ir.Node)]
    return integer, [t for t in left if t not in ("QuantizeLinear", "DequantizeLinear")]


def edges(model):
    """How many Quantize and Dequantize nodes stay between float and integer."""
    steps = recognize(model.graph).steps
    return collections.Counter(
        s.op_type for s in steps if isinstance(s, ir.Node) and "quantize" in s.op_type.lower()
    )


def signal_to_noise(found, expected):
    error = float(((found.astype(np.float64) - expected) ** 2).sum())
    return 10 * np.log10(float((expected.astype(np.float64) ** 2).sum()) / max(error, 1e-30))


def check_meaning(model, result, *, least_db=25.0):
    """The quantized model means nearly the same; the reference and onnxruntime agree on it."""
    feeds = random_feeds(model, 1)
    expected, found = run_model(model, feeds), run_model(result, feeds)
    exact = run_reference(result, feeds)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert signal_to_noise(found[name], array) > least_db, name
        # Ties fall to either side in onnxruntime's float arithmetic, and travel on.
        assert signal_to_noise(exact[name], found[name]) > least_db, name


def network(rng):
    """Convolutions, a residual sum, pooling, a concat and a classifier."""
    graph = Graph()
    x = graph.input("image", (1, 4, 12, 12))
    x = graph(
        "Clip",
        graph("Conv", x, normal(rng, 8, 4, 3, 3) / 6, normal(rng, 8), pads=[1] * 4),
        np.float32(0),
        np.float32(6),
    )
    pooled = graph("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    deep = graph(
        "Relu", graph("Conv", pooled, normal(rng, 8, 1, 3, 3) / 3, group=8, pads=[1] * 4)
    )
    total = graph("Relu", graph("Add", deep, pooled))
    other = graph("Conv", pooled, normal(rng, 4, 8, 1, 1) / 3)
    joined = graph("Concat", total, other, axis=1)
    mean = graph("Flatten", graph("GlobalAveragePool", joined))
    scores = graph("Gemm", mean, normal(rng, 12, 5), normal(rng, 5))
    return graph.model(graph("Softmax", scores))


def scores(depth):
    """A product of two values that has ``depth`` elements of K."""
    graph = Graph()
    operands = graph.input("a", (2, 3, depth)), graph.input("b", (2, depth, 5))
    return graph.model(graph("MatMul", *operands, name="scores"))
