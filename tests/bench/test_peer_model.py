"""What other runtimes' converters get: the float model, and the same in torch."""

import numpy as np
import pytest
from helpers.classifiers import classifier, synthetic_inputs
from helpers.graphs import Graph
from helpers.qdq import QdqGraph

from edgecomp import api
from edgecomp.bench.compare import sqnr_db
from edgecomp.bench.peer_model import describe, drop_quantization
from edgecomp.bench.peers.torch_graph import load_graph
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.qdq import is_quantized
from edgecomp.graph.run import run_model


def _in_torch(model, feeds, folder):
    import torch

    describe(model, folder)
    with torch.no_grad():
        return load_graph(folder)(
            *(torch.from_numpy(array) for array in feeds.values())
        ).numpy()


@pytest.mark.parametrize("name", ["keyword_net", "sentence_encoder"])
def test_float_and_int8(name, tmp_path):
    model = classifier(name)
    feeds = {model.graph.inputs[0].name: synthetic_inputs(name)[0]}
    (expected,) = run_model(model, feeds).values()
    assert sqnr_db([expected], [_in_torch(model, feeds, tmp_path)]) > 100
    quantized = api.quantize(model.clone(), [feeds])
    assert is_quantized(quantized)
    plain = drop_quantization(quantized)
    assert not is_quantized(plain)
    assert is_quantized(quantized), "the model itself stays as it was"
    assert sqnr_db([expected], list(run_model(plain, feeds).values())) > 25
    (exact,) = run_model(plain, feeds).values()
    assert sqnr_db([exact], [_in_torch(plain, feeds, tmp_path)]) > 100


def test_integers_that_leave_the_model():
    graph = QdqGraph()
    model = graph.model(graph.quantize(graph.input("x", (1, 4)), 0.1, 3))
    with pytest.raises(EdgecompError) as caught:
        drop_quantization(model)
    assert caught.value.code is Code.OPERATOR_UNSUPPORTED


def test_an_operator_without_torch_form(tmp_path):
    graph = Graph()
    describe(graph.model(graph("Asinh", graph.input("x", (1, 4)))), tmp_path)
    with pytest.raises(NotImplementedError, match="Asinh"):
        load_graph(tmp_path)


def test_sqnr():
    one = np.ones(4, np.float32)
    assert sqnr_db([one], [one * np.float32(1.1)]) == pytest.approx(20, abs=0.01)
    assert sqnr_db([one], [one]) > 1000
    assert sqnr_db([one], [one[:3]]) is None
    assert sqnr_db([one], [one * np.nan]) == float("-inf")
