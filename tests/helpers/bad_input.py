"""What refusals look like, and the small model they are tried on."""

import dataclasses
import hashlib

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser

#: Input [1, 3, 8, 9], two convolutions, an operator without a schedule of its own.
MODEL = """
<ir_version: 10, opset_import: ["" : 18]>
small (float[1, 3, 8, 9] x) => (float[1, 4] y)
{
  [conv] c = Conv (x, w, b)
  [relu] r = Relu (c)
  [head] h = Conv (r, g)
  [soft] s = Softplus (h)
  [flat] y = Flatten (s)
}
"""
SHAPES = {"w": (4, 3, 3, 3), "b": (4,), "g": (4, 4, 6, 7)}


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command left.

    Attributes:
        status: of the process.
        out, err: stdout and stderr, those of native libraries included.
    """

    status: int
    out: str
    err: str


def model_of(text, **arrays):
    """An ONNX model with float32 initializers."""
    model = onnx.parser.parse_model(text)
    for name, array in arrays.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def small_model():
    """The model ``MODEL`` with random weights."""
    rng = np.random.default_rng(0)
    weights = {
        name: rng.standard_normal(shape).astype(np.float32) / 4
        for name, shape in SHAPES.items()
    }
    return model_of(MODEL, **weights)


def contents(folder):
    """Path -> hash of every file under a folder, "folder" for folders."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(folder.rglob("*"))
    }


def check_message(result, code, *words):
    """A refusal: its status, its code, one hint, all the words, and nothing besides."""
    said = [line for line in result.err.splitlines() if not line.endswith(" ...")]
    text = "\n".join(said)
    assert result.status == int(code.exit_code), result
    assert said, result
    assert said[0].startswith(f"error: {code.text}: "), text
    assert len(said[0]) > len(f"error: {code.text}: "), text
    assert not said[0].endswith("."), text
    hints = [line for line in said if line.startswith("hint: ")]
    assert len(hints) == 1, text
    assert said[-1] == hints[0], text
    assert len(hints[0]) > len("hint: "), text
    assert "Traceback" not in text
    assert result.out == ""
    for word in words:
        assert word in text, f"{word!r} is not in\n{text}"
