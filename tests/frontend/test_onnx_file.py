"""Every way in which an ONNX file can be bad ends with its code, a node or file, and a hint."""

import contextlib

import onnx
import pytest
from helpers.graphs import Graph, normal

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.load import load_model


def network(rng, opset=21):
    g = Graph(opset)
    x = g.input("x", (1, 3, 8, 8))
    y = g("Relu", g("Conv", x, normal(rng, 4, 3, 3, 3)))
    return g, g.proto(g("Flatten", y))


def bad(source, code, **kwargs):
    """Load, expect the code; the error."""
    with pytest.raises(EdgecompError) as caught:
        load_model(source, **kwargs)
    error = caught.value
    assert error.code is code, str(error)
    assert error.node or error.path
    assert error.hint or code is Code.FILE_MISSING
    return error


def saved(proto, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_missing(tmp_path):
    bad(tmp_path / "no.onnx", Code.FILE_MISSING)
    bad(tmp_path, Code.FILE_MISSING)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "empty"),
        (b"import torch\nprint('hello')\n", "text"),
        (b"PK\x03\x04" + bytes(100), "zip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (bytes(range(256)) * 8, "cut off"),
        (b"\x08\x0a", "cut off"),
    ],
)
def test_not_onnx(tmp_path, content, part):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert part in bad(path, Code.MODEL_UNREADABLE).cause


def test_random_bytes(tmp_path, rng):
    path = tmp_path / "model.onnx"
    for _ in range(200):
        path.write_bytes(rng.bytes(int(rng.integers(1, 400))))
        bad(path, Code.MODEL_UNREADABLE)


def test_truncated_anywhere(tmp_path, rng):
    _, proto = network(rng)
    content = proto.SerializeToString()
    path = tmp_path / "model.onnx"
    for length in sorted({*range(0, len(content) - 1, 7), len(content) - 1}):
        path.write_bytes(content[:length])
        with pytest.raises(EdgecompError) as caught:
            load_model(path)
        assert caught.value.code in (
            Code.MODEL_UNREADABLE,
            Code.MODEL_INVALID,
            Code.OPSET_UNSUPPORTED,
        ), length


def test_other_files(tmp_path):
    for suffix in (".pth", ".tflite", ".safetensors"):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(b"x")
        assert "not an ONNX model" in bad(path, Code.MODEL_UNREADABLE).cause
    path = tmp_path / "model.pt2"
    path.write_bytes(b"x")
    pytest.importorskip("torch", reason="torch is not installed")
    bad(path, Code.MODEL_UNREADABLE)


def test_cycle(tmp_path, rng):
    _, proto = network(rng)
    proto.graph.node[1].input[0] = "v2"
    error = bad(saved(proto, tmp_path), Code.MODEL_INVALID)
    assert "cycle: n1 <- n2 <- n1" in error.cause


def test_unsorted_is_sorted(tmp_path, rng):
    _, proto = network(rng)
    nodes = [proto.graph.node[at] for at in (2, 0, 1)]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del proto.graph.node[:]
    proto.graph.node.extend(copies)
    model = load_model(saved(proto, tmp_path))
    assert [node.op_type for node in model.graph] == ["Conv", "Relu", "Flatten"]


def test_missing_initializer(tmp_path, rng):
    _, proto = network(rng)
    del proto.graph.initializer[:]
    error = bad(saved(proto, tmp_path), Code.MODEL_INVALID)
    assert error.node == "n0"
    assert "'c0'" in error.cause


def test_initializer_without_its_data(tmp_path, rng):
    _, proto = network(rng)
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-4]
    assert bad(saved(proto, tmp_path), Code.MODEL_INVALID).node == "c0"


def test_output_nobody_computes(tmp_path, rng):
    _, proto = network(rng)
    proto.graph.output[0].name = "nothing"
    assert bad(saved(proto, tmp_path), Code.MODEL_INVALID).node == "nothing"


def test_duplicate_names(tmp_path, rng):
    _, proto = network(rng)
    proto.graph.node[1].output[0] = "v0"
    proto.graph.node[2].input[0] = "v0"
    error = bad(saved(proto, tmp_path), Code.MODEL_INVALID)
    assert "defined twice" in error.cause
    assert error.node == "n1"


def test_declared_shape_disagrees(tmp_path, rng):
    _, proto = network(rng)
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("v1", 1, [1, 4, 6, 7]))
    error = bad(saved(proto, tmp_path), Code.SHAPE_CONFLICT)
    assert error.node == "n1"
    assert "[1,4,6,7]" in error.cause.replace(" ", "")


def test_inputs_that_do_not_fit(tmp_path, rng):
    g = Graph()
    x, z = g.input("x", (1, 3)), g.input("z", (1, 4))
    y = g("Add", x, z)
    g.nodes[0].name = "sum"
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            g.nodes, "g", g.inputs, [onnx.helper.make_tensor_value_info(y, 1, None)]
        ),
        opset_imports=[onnx.helper.make_opsetid("", 21)],
        ir_version=10,
    )
    error = bad(saved(proto, tmp_path), Code.SHAPE_CONFLICT)
    assert error.node == "sum"
    assert error.source == "net.py:0"
    assert "x FLOAT [1,3], z FLOAT [1,4]" in error.cause


def test_unknown_operators_are_all_listed(tmp_path):
    g = Graph()
    y = g("NGramRepeatBlock", g.input("x", (1, 3)), domain="com.microsoft")
    y = g("Frobnicate", g("Bogus", y, domain="my.domain"))
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            g.nodes, "g", g.inputs, [onnx.helper.make_tensor_value_info(y, 1, None)]
        ),
        opset_imports=[
            onnx.helper.make_opsetid("", 21),
            onnx.helper.make_opsetid("my.domain", 1),
        ],
        ir_version=10,
    )
    error = bad(saved(proto, tmp_path), Code.OPERATOR_UNSUPPORTED)
    for part in (
        "com.microsoft.NGramRepeatBlock",
        "my.domain.Bogus",
        "ai.onnx.Frobnicate",
        "n2",
    ):
        assert part in error.cause


@pytest.mark.parametrize(("field", "value"), [("opset", 0), ("opset", 99), ("ir", 15)])
def test_versions(tmp_path, rng, field, value):
    _, proto = network(rng)
    if field == "opset":
        proto.opset_import[0].version = value
    else:
        proto.ir_version = value
    bad(saved(proto, tmp_path), Code.OPSET_UNSUPPORTED)


def test_attribute_that_the_checker_refuses(tmp_path, rng):
    _, proto = network(rng)
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("bogus", 1))
    error = bad(saved(proto, tmp_path), Code.MODEL_INVALID)
    assert "bogus" in error.cause


def external(rng, tmp_path, size=2000):
    _, proto = network(rng)
    path = tmp_path / "sub" / "model.onnx"
    path.parent.mkdir()
    onnx.save(proto, path, save_as_external_data=True, location="model.data", size_threshold=0)
    return path, onnx.load(path, load_external_data=False)


def test_external_data(tmp_path, rng):
    path, _ = external(rng, tmp_path)
    model = load_model(path)
    assert model.graph.initializers["c0"].const_value.numpy().shape == (4, 3, 3, 3)


@pytest.mark.parametrize("how", ["parent", "absolute", "link", "missing", "short", "offset"])
def test_external_data_outside_missing_or_short(tmp_path, rng, how):
    path, proto = external(rng, tmp_path)
    data = path.parent / "model.data"
    entry = next(
        each for each in proto.graph.initializer[0].external_data if each.key == "location"
    )
    outside = tmp_path / "model.data"
    outside.write_bytes(data.read_bytes())
    if how == "parent":
        entry.value = "../model.data"
    elif how == "absolute":
        entry.value = str(outside)
    elif how == "link":
        data.unlink()
        data.symlink_to(outside)
    elif how == "missing":
        data.unlink()
    elif how == "short":
        data.write_bytes(data.read_bytes()[:-1])
    elif how == "offset":
        proto.graph.initializer[0].external_data.add(key="offset", value="-8")
    path.write_bytes(proto.SerializeToString())
    assert bad(path, Code.EXTERNAL_DATA).node == "c0"


def test_fuzzed_bytes_never_escape(tmp_path, rng):
    """Flipped bytes load or fail with an EdgecompError, nothing else."""
    _, proto = network(rng)
    content = bytearray(proto.SerializeToString())
    path = tmp_path / "model.onnx"
    for _ in range(150):
        copy = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            copy[int(rng.integers(0, len(copy)))] = int(rng.integers(0, 256))
        path.write_bytes(copy)
        with contextlib.suppress(EdgecompError):
            load_model(path)
