import numpy as np
import pytest

from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.input_spec import Bounds, InputSpec, parse_input_spec, parse_input_specs


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("x:1x3x224x224", InputSpec("x", (1, 3, 224, 224))),
        ("x:7", InputSpec("x", (7,))),
        ("x:1,3", InputSpec("x", (1, 3))),
        ("x:scalar:i64", InputSpec("x", (), "int64")),
        ("x:1x3:f16", InputSpec("x", (1, 3), "float16")),
        ("scope/x:0:1x3:float32", InputSpec("scope/x:0", (1, 3), "float32")),
        ("scope/x:0:1x3", InputSpec("scope/x:0", (1, 3))),
        ("x:[1..4]x3", InputSpec("x", (Bounds(1, 4), 3))),
        ("x:1x[x_len=2..9]:i64", InputSpec("x", (1, Bounds(2, 9, "x_len")), "int64")),
        (
            "x:1x3x[32..640:32]:f32",
            InputSpec("x", (1, 3, Bounds(32, 640, step=32)), "float32"),
        ),
        ("a:0:[n=8..64:8]", InputSpec("a:0", (Bounds(8, 64, "n", 8),))),
        ("x:[1..4],[7..7]", InputSpec("x", (Bounds(1, 4), Bounds(7, 7)))),
    ],
)
def test_parse(text, spec):
    assert parse_input_spec(text) == spec
    assert parse_input_spec(spec.text) == spec


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x", "a shape is missing"),
        (":1x3", "a shape is missing"),
        ("x:", "is no shape"),
        ("x:axb", "is no shape"),
        ("x:1x0x3", "an extent is 0"),
        ("x:1x-3", "is no shape"),
        ("x:1x3:floot32", "neither a shape nor a dtype"),
        ("x:[4..1]x3", "hold no size"),
        ("x:1x[0..4]:f32", "hold no size"),
        ("x:[1-4]x3", "is no dimension"),
        ("x:[1..64:32]", "no multiples of 32"),
        ("x:[32..100:32]", "no multiples of 32"),
        ("x:[1..4:0]", "no multiples of 0"),
        ("x:[2n=1..4]x3", "is no dimension"),
        ("x:1xx[1..4]", "is no shape"),
        ("x:[1..2][3..4]", "is no shape"),
        ("x:1x[1..4]x", "is no shape"),
    ],
)
def test_bad(text, part):
    with pytest.raises(EdgecompError, match=part) as caught:
        parse_input_spec(text)
    assert caught.value.code is Code.USAGE
    assert caught.value.hint


def test_nearest_dtype():
    with pytest.raises(EdgecompError) as caught:
        parse_input_spec("x:1x3:floot32")
    assert "float32" in caught.value.hint


def test_twice():
    with pytest.raises(EdgecompError, match="given twice"):
        parse_input_specs(["x:1", "x:2"])


def test_random_is_seeded_and_typed():
    spec = InputSpec("x", (2, 3), "int64")
    assert spec.random().dtype == np.int64
    np.testing.assert_array_equal(spec.random(3), spec.random(3))


def test_errors_name_the_flag():
    with pytest.raises(EdgecompError, match=r"^EC0100: --shape a: a shape is missing"):
        parse_input_specs(["a"], "--shape")
    with pytest.raises(EdgecompError, match="--shape a is given twice"):
        parse_input_specs(["a:2", "a:3"], "--shape")
