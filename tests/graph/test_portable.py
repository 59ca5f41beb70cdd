"""The portable model's files, written without a copy of the weights."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from helpers.graphs import Graph, normal

from edgecomp.graph.portable import DATA_NAME, serialize


def network(rng, width=600):
    """Two big weights, of 1.4 MB each, around a small one."""
    g = Graph()
    y = g("MatMul", g.input("x", (3, width)), normal(rng, width, width))
    y = g("Add", y, normal(rng, width))
    return g.model(g("MatMul", g("Relu", y), normal(rng, width, width).astype(np.float32)))


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.fixture
def model(rng):
    return network(rng)


def plain(model, path):
    path.write_bytes(ir.serde.serialize_model(model).SerializeToString())
    return path


def test_one_file_holds_what_protobuf_would_write(model, tmp_path, rng):
    content, data = serialize(model)
    assert not data
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    onnx.checker.check_model(str(path), full_check=True)
    expected = onnx.load(plain(model, tmp_path / "plain.onnx"))
    found = onnx.load(path)
    by_name = {each.name: each for each in found.graph.initializer}
    assert [each.name for each in expected.graph.initializer if each.name not in by_name] == []
    for each in expected.graph.initializer:
        array = onnx.numpy_helper.to_array(by_name[each.name])
        np.testing.assert_array_equal(array, onnx.numpy_helper.to_array(each))
    assert found.graph.node == expected.graph.node
    assert found.opset_import == expected.opset_import
    x = rng.standard_normal((3, 600), np.float32)
    np.testing.assert_array_equal(run(path, x), run(tmp_path / "plain.onnx", x))


def test_contents_beside_the_file(model, tmp_path, rng):
    content, data = serialize(model, most_file_bytes=1 << 20)
    assert len(content) < 10_000
    (tmp_path / "model.onnx").write_bytes(content)
    (tmp_path / DATA_NAME).write_bytes(data)
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    x = rng.standard_normal((3, 600), np.float32)
    expected = run(plain(model, tmp_path / "plain.onnx"), x)
    np.testing.assert_array_equal(run(tmp_path / "model.onnx", x), expected)


def test_the_model_stays_as_it_was(model):
    before = {name: value.const_value for name, value in model.graph.initializers.items()}
    serialize(model)
    after = {name: value.const_value for name, value in model.graph.initializers.items()}
    assert list(before) == list(after)
    assert all(before[name] is after[name] for name in before)


def test_the_same_bytes_each_time(model):
    assert bytes(serialize(model)[0]) == bytes(serialize(model)[0])
