"""Files that are no model, and models that break the rules."""

import pathlib

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

from edgecomp.errors import Code

HEAD = '<ir_version: 10, opset_import: ["" : 18]> g '
BUILD = ("build", "bad.onnx", "-o", "bundle")


def parsed(text):
    return onnx.parser.parse_model(HEAD + text)


def whole():
    return pathlib.Path("model.onnx").read_bytes()


def write(model):
    content = model if isinstance(model, bytes) else model.SerializeToString()
    pathlib.Path("bad.onnx").write_bytes(content)


NOT_MODELS = {
    "empty": lambda: b"",
    "text": lambda: b"this is not a model\n" * 40,
    "html": lambda: b"<!DOCTYPE html><html><body>404: Not Found</body></html>",
    "json": lambda: b'{"ir_version": 10, "graph": {"node": []}}',
    "git-lfs pointer": lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "random": lambda: np.random.default_rng(3).bytes(5000),
    "zeros": lambda: bytes(4096),
    "zip": lambda: b"PK\x03\x04" + bytes(200),
    "a protobuf of another kind": lambda: onnx.helper.make_tensor(
        "t", 1, [2], [1.0, 2.0]
    ).SerializeToString(),
}


@pytest.mark.parametrize("kind", NOT_MODELS)
@pytest.mark.parametrize("verb", ["build", "check", "quantize"])
def test_what_is_no_model(refused, folder, kind, verb):
    write(NOT_MODELS[kind]())
    arguments = {
        "build": BUILD,
        "check": ("check", "bad.onnx", "-t", "host"),
        "quantize": ("quantize", "bad.onnx", "--calibration-data", "c.npy", "-o", "q.onnx"),
    }
    refused(arguments[verb], Code.MODEL_UNREADABLE, "bad.onnx")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_model(refused, folder, share):
    content = whole()
    write(content[: int(len(content) * share)])
    refused(BUILD, Code.MODEL_UNREADABLE, "bad.onnx", "cut off")


@pytest.mark.parametrize("seed", range(12))
def test_a_model_with_random_bytes_in_it(run, folder, seed):
    """Whatever comes of it is no internal error, and no half bundle."""
    rng = np.random.default_rng(seed)
    content = bytearray(whole())
    for at in rng.integers(0, len(content), 1 + seed):
        content[at] = rng.integers(256)
    write(bytes(content))
    result = run("check", "bad.onnx", "-t", "host")
    assert result.status in (0, 2, 3), result
    assert "Traceback" not in result.err
    if result.status == 2:
        assert result.err.count("hint: ") == 1
        assert "bad.onnx" in result.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.onnx", ["none.onnx"]),
        ("no/such/folder/none.onnx", ["no/such/folder/none.onnx"]),
        (".", ["folder"]),
    ],
)
@pytest.mark.parametrize("verb", ["build", "check"])
def test_a_missing_file(refused, verb, name, words):
    refused((verb, name), Code.FILE_MISSING, *words)


def test_files_of_other_kinds(refused, folder):
    for name, word in (("m.pth", "weights"), ("m.tflite", "TensorFlow"), ("m.h5", "Keras")):
        (folder / name).write_bytes(b"x" * 100)
        refused(("build", name, "-o", "bundle"), Code.MODEL_UNREADABLE, name, word)


RULES = {
    "cycle": (
        "(float[4] x) => (float[4] b) { [first] a = Add(x, b) [second] b = Relu(a) }",
        Code.MODEL_INVALID,
        ["cycle", "first", "second"],
    ),
    "a node that reads itself": (
        "(float[4] x) => (float[4] a) { [own] a = Add(x, a) }",
        Code.MODEL_INVALID,
        ["cycle", "own"],
    ),
    "missing initializer": (
        "(float[4] x) => (float[4] y) { [scale] y = Mul(x, weight) }",
        Code.MODEL_INVALID,
        ["'weight'", "node scale", "initializer"],
    ),
    "an output that nothing computes": (
        "(float[4] x) => (float[4] z) { y = Relu(x) }",
        Code.MODEL_INVALID,
        ["'z'"],
    ),
    "two nodes with one output": (
        "(float[4] x) => (float[4] y) { [one] y = Relu(x) [two] y = Exp(x) }",
        Code.MODEL_INVALID,
        ["'y'", "node two"],
    ),
    "shapes that cannot be added": (
        "(float[4] x, float[5] z) => (float[4] y) { [sum] y = Add(x, z) }",
        Code.SHAPE_CONFLICT,
        ["node sum", "[4]", "[5]"],
    ),
    "a matrix of other columns": (
        "(float[2,3] x, float[4,5] z) => (float[2,5] y) { [mm] y = MatMul(x, z) }",
        Code.SHAPE_CONFLICT,
        ["node mm", "[2,3]", "[4,5]"],
    ),
    "a convolution of other channels": (
        "(float[1,3,8,8] x, float[4,2,3,3] w) => (float[1,4,6,6] y) { [c] y = Conv(x, w) }",
        Code.SHAPE_CONFLICT,
        ["node c"],
    ),
    "an output declared with another shape": (
        "(float[1,4] x) => (float[1,7] y) { [r] y = Relu(x) }",
        Code.SHAPE_CONFLICT,
        ["'y'", "[1,7]", "[1,4]"],
    ),
    "operators that nobody defines": (
        "(float[4] x) => (float[4] z) { [one] y = Frobnicate(x) [two] z = my.Op(y) }",
        Code.OPERATOR_UNSUPPORTED,
        ["Frobnicate", "'one'", "my.Op", "'two'"],
    ),
}


@pytest.mark.parametrize("kind", RULES)
def test_a_model_that_breaks_the_rules(refused, folder, kind):
    text, code, words = RULES[kind]
    write(parsed(text))
    refused(BUILD, code, "bad.onnx", *words)


def test_an_initializer_without_its_data(refused, folder):
    model = onnx.load("model.onnx")
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:10]
    write(model)
    refused(BUILD, Code.MODEL_INVALID, "'w'", "[4, 3, 3, 3]", "bad.onnx")


@pytest.mark.parametrize("version", [-1, 99])
def test_an_opset_that_is_not_read(refused, folder, version):
    model = onnx.load("model.onnx")
    model.opset_import[0].version = version
    write(model)
    error = refused(BUILD, Code.OPSET_UNSUPPORTED, f"opset {version}", "1 to 28", "bad.onnx")
    assert error["exit_code"] == 3


def external(location, offset=0, length=0):
    """The small model with the weights "w" in another file."""
    model = onnx.load("model.onnx")
    tensor = model.graph.initializer[0]
    count = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": location, "offset": offset, "length": length or count}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    write(model)


@pytest.mark.parametrize(
    ("location", "word"),
    [
        ("../outside.bin", "outside"),
        ("/etc/passwd", "outside"),
        ("sub/../../outside.bin", "outside"),
        ("link.bin", "outside"),
        ("none.bin", "missing"),
        ("", "outside"),
        ("short.bin", "needs 432 bytes"),
    ],
)
def test_external_data(refused, folder, location, word):
    (folder.parent / "outside.bin").write_bytes(bytes(4096))
    (folder / "sub").mkdir()
    (folder / "short.bin").write_bytes(bytes(100))
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    external(location)
    refused(BUILD, Code.EXTERNAL_DATA, "'w'", "node w", "bad.onnx", word)


def test_external_data_beyond_its_file(refused, folder):
    (folder / "weights.bin").write_bytes(bytes(500))
    for offset in (400, -8, 2**70):
        external("weights.bin", offset)
        refused(BUILD, Code.EXTERNAL_DATA, "'w'", "bad.onnx")


@pytest.mark.parametrize("verb", ["build", "quantize", "check"])
def test_a_free_dimension(refused, folder, verb):
    model = onnx.load("model.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    write(model)
    arguments = {
        "build": BUILD,
        "check": ("check", "bad.onnx", "-t", "host"),
        "quantize": ("quantize", "bad.onnx", "--calibration-data", "c.npy", "-o", "q.onnx"),
    }
    error = refused(arguments[verb], Code.DIMENSION_FREE, "x [batch,3,8,9]", "bad.onnx")
    assert "--input x:1x3x8x9" in error["hint"]


def test_a_shape_that_does_not_fit_the_model(refused, folder):
    command = ("build", "model.onnx", "-o", "bundle", "--input")
    refused((*command, "x:1x4x8x9"), Code.SHAPE_CONFLICT, "model.onnx", "x")
    refused((*command, "y:1x3x8x9"), Code.USAGE, "no such input", "known: x")
    refused((*command, "x:1x3xfoo"), Code.USAGE, "x:1x3xfoo")


UNSUPPORTED = """(float[4] x) => (float[4] y, float[4] z)
{
  [rise] y = RandomNormalLike (x)
  [spread] r = RandomUniformLike (x)
  [used] t = Add (r, x)
  [pick] z = Bernoulli (t)
}
"""


def test_all_operators_without_an_implementation_are_listed(refused, folder):
    write(parsed(UNSUPPORTED))
    error = refused(BUILD, Code.OPERATOR_UNSUPPORTED, "bad.onnx")
    for operator, node in (
        ("RandomNormalLike", "rise"),
        ("RandomUniformLike", "spread"),
        ("Bernoulli", "pick"),
    ):
        assert f"{operator} '{node}'" in error["cause"], error["cause"]
    assert error["exit_code"] == 3
    assert "edgecomp check" in error["hint"]


def test_an_unknown_target(refused, folder):
    for name, nearest in (
        ("rasberry-pi-4", "raspberry-pi-4"),
        ("Raspberry_Pi5", "raspberry-pi-5"),
        ("hots", "host"),
        ("x86-64-v33", "x86-64-v3"),
    ):
        command = ("build", "model.onnx", "-o", "bundle", "--target", name)
        error = refused(command, Code.TARGET_UNKNOWN, name)
        assert f"'{nearest}'" in error["hint"]
    refused(("check", "model.onnx", "-t", "nonesuch"), Code.TARGET_UNKNOWN, "nonesuch")


def test_a_target_file(refused, folder):
    command = ("build", "model.onnx", "-o", "bundle", "--target")
    refused((*command, "boards/none.toml"), Code.FILE_MISSING, "boards/none.toml")
    (folder / "board.toml").write_text('schema = 1\nname = "b"\nflavour = "sweet"\n')
    refused((*command, "board.toml"), Code.TARGET_INVALID, "board.toml", "flavour")
    (folder / "board.toml").write_text("schema = = 1")
    refused((*command, "board.toml"), Code.TARGET_INVALID, "board.toml")


def test_the_model_is_not_overwritten(refused, folder):
    np.save("c.npy", np.zeros((2, 3, 8, 9), np.float32))
    command = ("quantize", "model.onnx", "--calibration-data", "c.npy", "--force")
    refused((*command, "-o", "model.onnx"), Code.OUTPUT_EXISTS, "the model itself")
