import onnx_ir as ir
from helpers.graphs import Graph

from edgecomp.graph.source import (
    copy_source,
    innermost_user_line,
    normalize_sources,
    source_of,
)

TRACE = """File "/home/me/net.py", line 7, in forward
    y = self.conv(x)
  File "/venv/lib/python3.11/site-packages/mylayers/conv.py", line 12, in forward
    return super().forward(x)
  File "/venv/lib/python3.11/site-packages/torch/nn/modules/conv.py", line 565, in forward
    return self._conv_forward(input, self.weight, self.bias)"""


def test_innermost_line_outside_of_the_framework():
    assert innermost_user_line(TRACE) == "mylayers/conv.py:12"
    assert innermost_user_line("\n".join(TRACE.splitlines()[:2])) == "net.py:7"
    assert innermost_user_line(TRACE.replace("mylayers", "torch")) == "net.py:7"
    windows = r'File "C:\me\net.py", line 3, in forward'
    assert innermost_user_line(windows) == "net.py:3"
    assert innermost_user_line("") == ""
    assert innermost_user_line('File "<eval_with_key>.1", line 3, in forward') == ""


def test_exporters_metadata_is_reduced():
    node = ir.node("Relu", [ir.val("x")])
    node.metadata_props["pkg.torch.onnx.stack_trace"] = TRACE
    node.metadata_props["pkg.torch.onnx.name_scopes"] = (
        "['', 'features', 'features.0', 'conv2d']"
    )
    node.metadata_props["namespace"] = "long"
    assert source_of(node) == "mylayers/conv.py:12"
    graph = ir.Graph([ir.val("x")], node.outputs, nodes=[node], opset_imports={"": 21})
    normalize_sources(ir.Model(graph, ir_version=10))
    assert dict(node.metadata_props) == {
        "edgecomp.source": "mylayers/conv.py:12",
        "edgecomp.module": "features.0",
    }


def test_nodes_without_a_source_take_their_readers():
    g = Graph()
    y = g("Relu", g("Neg", g.input("x", (2, 3))))
    del g.nodes[0].metadata_props[:]
    model = ir.from_proto(g.proto(y))
    normalize_sources(model)
    assert source_of(model.graph[0]) == "net.py:1"


def test_copy_keeps_what_is_there():
    a, b, c = (ir.node("Relu", [ir.val("x")]) for _ in range(3))
    b.metadata_props["edgecomp.source"] = "b.py:1"
    copy_source([a, b], c)
    assert source_of(c) == "b.py:1"
    b.metadata_props["edgecomp.source"] = "b.py:2"
    copy_source(b, c)
    assert source_of(c) == "b.py:1"
