"""Every way in which an ONNX file can be bad ends with its code, a node or file, and a hint."""

import contextlib

import onnx
import pytest
from helpers.graphs import Graph, normal

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.input_spec import parse_input_specs
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


def test_what_nobody_reads_is_left_out(tmp_path, rng):
    g = Graph()
    x = g.input("x", (1, 8))
    wanted = g("MatMul", x, normal(rng, 8, 8), name="wanted")
    g("Relu", g("MatMul", x, normal(rng, 8, 8), name="unread"))
    loaded = load_model(saved(g.proto(wanted), tmp_path))
    assert [node.name for node in loaded.graph] == ["wanted"]
    assert len(loaded.graph.initializers) == 1


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
    dims = proto.graph.output[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, (1, 168), strict=True):
        dim.dim_value = size
    error = bad(saved(proto, tmp_path), Code.SHAPE_CONFLICT)
    assert error.node == "n2"
    assert "[1,168]" in error.cause.replace(" ", "")


def test_declared_shape_inside_disagrees(tmp_path, rng):
    """Nobody computes by it: the operator's own shape is the true one."""
    _, proto = network(rng)
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("v1", 1, [1, 4, 6, 7]))
    proto.graph.value_info.append(onnx.helper.make_tensor_value_info("v0", 1, [1, 4, 36]))
    model = load_model(saved(proto, tmp_path))
    shapes = [node.outputs[0].shape.numpy() for node in model.graph]
    assert shapes == [(1, 4, 6, 6), (1, 4, 6, 6), (1, 144)]


def test_output_of_the_exporters_example(tmp_path, rng):
    """Where an input is free, the numbers of outputs are those of one size."""
    g = Graph()
    y = g("Relu", g("Add", g.input("x", (1, "s", 3)), normal(rng, 3)))
    proto = g.proto(y)
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5
    path = saved(proto, tmp_path)
    for size in (5, 3):
        model = load_model(path, inputs=parse_input_specs([f"x:1x{size}x3"]))
        assert model.graph.outputs[0].shape.numpy() == (1, size, 3)


def one_of_two(length, declared):
    """A model that chooses between two operators, whose results have declared shapes."""

    def value(name, shape):
        return onnx.helper.make_tensor_value_info(name, 1, shape)

    def branch(operator):
        node = onnx.helper.make_node(operator, ["x"], [operator])
        return onnx.helper.make_graph([node], operator, [], [value(operator, declared)])

    choice = onnx.helper.make_node(
        "If",
        ["c"],
        ["y"],
        then_branch=branch("Relu"),
        else_branch=branch("Neg"),
        name="choice",
    )
    nodes = [choice, onnx.helper.make_node("Sigmoid", ["y"], ["z"])]
    inputs = [value("x", [1, length]), onnx.helper.make_tensor_value_info("c", 9, [])]
    graph = onnx.helper.make_graph(
        nodes, "g", inputs, [value("z", [1, length])], value_info=[value("y", declared)]
    )
    opsets = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)


@pytest.mark.parametrize("length", [8, "s"])
def test_declared_shapes_of_branches_yield_too(tmp_path, length):
    """None of them is left out for a shape that was declared of what it gives."""
    path = saved(one_of_two(length, [1, 5]), tmp_path)
    model = load_model(path, inputs=parse_input_specs(["x:1x8"]))
    choice = model.graph.node("choice")
    assert choice.outputs[0].shape.numpy() == (1, 8)
    assert not choice.metadata_props
    for each in choice.attributes.values():
        assert each.as_graph().outputs[0].shape.numpy() == (1, 8)


def test_declared_shapes_of_loops_yield_but_for_the_rounds(tmp_path):
    def value(name, shape, dtype=1):
        return onnx.helper.make_tensor_value_info(name, dtype, shape)

    body = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Relu", ["s"], ["t"]),
            onnx.helper.make_node("Neg", ["t"], ["row"]),
            onnx.helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", [], 7), value("go", [], 9), value("s", [1, 5])],
        [value("on", [], 9), value("t", [1, 5]), value("row", [1, 5])],
    )
    nodes = [
        onnx.helper.make_node("Loop", ["n", "", "x"], ["y", "rows"], body=body, name="loop"),
        onnx.helper.make_node("Sigmoid", ["y"], ["z"]),
        onnx.helper.make_node("Sigmoid", ["rows"], ["w"]),
    ]
    inputs, outputs = [value("x", [1, 8]), value("n", [], 7)], [value("z", [1, 8])]
    outputs.append(value("w", [4, 1, 8]))
    inside = [value("y", [1, 5]), value("rows", [4, 1, 5])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, value_info=inside)
    opsets = [onnx.helper.make_opsetid("", 21)]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    loop = load_model(saved(proto, tmp_path)).graph.node("loop")
    assert [value.shape.numpy() for value in loop.outputs] == [(1, 8), (4, 1, 8)]


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
