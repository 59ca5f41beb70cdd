"""Shapes of dynamic inputs on their way to the runner and back."""

import dataclasses
import types

import numpy as np
import pytest

from edgecomp.bench.files import allows
from edgecomp.bench.runner import at_shapes, read_shape, shape_arguments
from edgecomp.errors import Code, EdgecompError


@dataclasses.dataclass
class Port:
    name: str
    shape: tuple[int, ...]
    dimensions: tuple[str, ...] = ()
    dtype: str = "float32"


A, B = Port("a", (8, 4), ("n", "4")), Port("b", (2, 8), ("2", "n"))
FIXED = Port("c", (3, 8))
BUNDLE = types.SimpleNamespace(inputs=[A, B, FIXED])
LARGEST = {
    port.name: np.arange(np.prod(port.shape)).reshape(port.shape) for port in BUNDLE.inputs
}


@pytest.mark.parametrize(
    ("port", "shape", "found"),
    [
        (A, (8, 4), True),
        (A, (1, 4), True),
        (A, (0, 4), False),
        (A, (9, 4), False),
        (A, (5, 3), False),
        (A, (5,), False),
        (FIXED, (3, 8), True),
        (FIXED, (3, 7), False),
    ],
)
def test_what_a_port_allows(port, shape, found):
    assert allows(port, shape) is found


def test_a_shared_dimension_follows():
    found = at_shapes(BUNDLE, LARGEST, {"b": (2, 5)})
    np.testing.assert_array_equal(found["a"], LARGEST["a"][:5])
    np.testing.assert_array_equal(found["b"], LARGEST["b"][:, :5])
    np.testing.assert_array_equal(found["c"], LARGEST["c"])
    assert shape_arguments(BUNDLE, found) == ["--shape", "a=5x4", "--shape", "b=2x5"]


def test_without_shapes_nothing_changes():
    assert at_shapes(BUNDLE, LARGEST, {}) == LARGEST


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"d": (1,)}, "no input named 'd'"),
        ({"a": (5, 3)}, "it is [n, 4], at most [8, 4]"),
        ({"c": (3, 7)}, "cannot be [3, 7]: it is [3, 8]"),
        ({"a": (5, 4), "b": (2, 6)}, "'n' cannot be 5 and 6 at once"),
    ],
)
def test_shapes_that_cannot_be(shapes, words):
    with pytest.raises(EdgecompError) as error:
        at_shapes(BUNDLE, LARGEST, shapes)
    assert error.value.code is Code.INPUT_MISMATCH
    assert words in error.value.cause


@pytest.mark.parametrize(
    ("text", "shape"), [("2x5\n", (2, 5)), ("7", (7,)), ("scalar\n", ()), ("0x3", (0, 3))]
)
def test_a_shape_is_read_back(tmp_path, text, shape):
    path = tmp_path / "y.shape"
    path.write_text(text)
    assert read_shape(path) == shape


@pytest.mark.parametrize("text", ["", "2x", "-1", "2 x 5", "²"])
def test_what_is_no_shape(tmp_path, text):
    path = tmp_path / "y.shape"
    path.write_text(text)
    with pytest.raises(EdgecompError) as error:
        read_shape(path)
    assert error.value.code is Code.DEVICE_FAILED
