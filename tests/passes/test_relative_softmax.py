import numpy as np
import pytest
from helpers.graphs import Graph
from helpers.passes import operators
from helpers.qdq import QdqGraph

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.graph.run import run_model
from edgecomp.graph.text import to_text
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.relative_softmax import relate_weights

AXIS = {"axis": -1}


def quantized(*, axis=-1, again="", opset=18):
    """The product of a softmax and a value, both stored."""
    g = QdqGraph()
    weights = g("Softmax", g.input("scores", (2, 5, 32)), axis=axis, name="softmax")
    stored = g.quantize(weights, 0.004, 0)
    read = g.dequantize(stored, 0.004, 0)
    y = g("MatMul", read, g.stored("v", (2, 32, 8), 0.02, 128), name="product")
    further = {"weights": weights, "stored": stored, "read": read}
    outputs = [y, *([g("Identity", further[again])] if again else [])]
    model = g.model(*outputs)
    model.opset_imports[""] = opset
    return model


def related(model):
    products = [node for node in model.graph if node.op_type == "MatMul"]
    return relate_weights(model, products)


def test_the_sum_divides_the_product(golden):
    model = quantized()
    assert related(model) == 1
    golden(to_text(model))
    assert related(model) == 0


@pytest.mark.parametrize(
    "model",
    [
        quantized(axis=1),
        quantized(again="weights"),
        quantized(again="stored"),
        quantized(again="read"),
        quantized(opset=17),
    ],
    ids=["other axis", "weights read", "stored read", "read again", "old operators"],
)
def test_others_stay(model):
    before = operators(model)
    assert related(model) == 0
    assert operators(model) == before


def attention(count):
    g = Graph()
    q, k, v = (g.input(name, (1, 2, count, 32)) for name in "qkv")
    scores = g("MatMul", q, g("Transpose", k, perm=[0, 1, 3, 2]))
    return g.model(g("MatMul", g("Softmax", scores, **AXIS), v))


def feeds_of(count, scale):
    rng = np.random.default_rng(3)
    draw = rng.standard_normal
    feeds = {name: draw((1, 2, count, 32)).astype(np.float32) for name in "qkv"}
    return {**feeds, "q": feeds["q"] * np.float32(scale), "v": feeds["v"] + 1}


@pytest.mark.parametrize("scale", [0.01, 0.5], ids=["flat", "peaked"])
def test_long_rows_keep_their_weights(scale):
    """Of 512 weights alike each is half a step of what one softmax needs that has a peak."""
    model, feeds = attention(512), feeds_of(512, scale)
    peaked = feeds_of(512, 0.5)
    (expected,) = run_model(model, feeds).values()
    options = InsertQdqOptions()
    ranges = collect_ranges(model, [feeds, peaked])
    made = model.clone()
    InsertQdqPass(ranges, options)(made)
    assert "Softmax" not in operators(made)
    (found,) = run_model(made, feeds).values()
    noise = np.mean((found - expected) ** 2) / np.mean(expected**2)
    assert 10 * np.log10(1 / noise) > 30
