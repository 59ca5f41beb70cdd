import onnx_ir as ir
import pytest
from helpers.graphs import Graph, normal

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.verify import verify


@pytest.fixture
def model(rng):
    g = Graph()
    y = g("Conv", g.input("x", (1, 3, 8, 8)), normal(rng, 4, 3, 3, 3))
    return g.model(g("Relu", g("Neg", y)))


def refused(model, part, code=Code.MODEL_INVALID):
    with pytest.raises(EdgecompError, match=part) as caught:
        verify(model)
    assert caught.value.code is code
    return caught.value


def test_good(model):
    verify(model)


def test_order(model):
    node = model.graph[1]
    model.graph.remove(node)
    model.graph.append(node)
    error = refused(model, "reads 'v1', which nothing before it defines")
    assert (error.node, error.source) == ("n2", "net.py:2")


def test_value_names(model):
    model.graph[1].outputs[0].name = "v0"
    refused(model, "'v0' is defined twice")


def test_node_names(model):
    model.graph[1].name = "n0"
    refused(model, "two nodes are named 'n0'")


def test_initializer_without_data(model):
    model.graph.initializers["c0"].const_value = None
    assert refused(model, "has no data").node == "c0"


def test_removed_initializer(model):
    del model.graph.initializers["c0"]
    assert refused(model, "reads 'c0'").node == "n0"


def test_unknown_shape(model):
    model.graph[1].outputs[0].shape = ir.Shape([1, "N", 6, 6])
    error = refused(model, "from Neg", Code.DIMENSION_FREE)
    assert error.node == "n1"
    verify(model, static=False)


def test_output_of_nobody(model):
    model.graph.outputs[0] = ir.val("lost", ir.DataType.FLOAT, [1])
    refused(model, "graph output 'lost'")
