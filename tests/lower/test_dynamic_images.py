"""Networks on images and sequences of any size, against onnxruntime; 8 bits bit for bit."""

import hypothesis
import numpy as np
import onnxruntime
import pytest
from helpers.dynamic import dynamic_plan, link
from helpers.dynamic_image_families import (
    BOUNDS,
    FAMILIES,
    INTEGERS,
    LARGEST,
    SMALLEST,
    conv,
    image,
    integer_proto,
    proto_of,
    shape_of,
    specs_of,
)
from helpers.graphs import Graph
from helpers.qdq import stored_numbers
from hypothesis import strategies

from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions
from edgecomp.progress import silent
from edgecomp.reference.interpreter import run_reference
from edgecomp.steps.prepare import prepare


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    protos = {name: proto_of(family) for name, family in FAMILIES.items()}
    protos |= {n.replace(" ", "_"): integer_proto(form) for n, form in INTEGERS.items()}
    plans = [dynamic_plan(proto, specs_of(proto), name) for name, proto in protos.items()]
    open_model = link(plans, tmp_path_factory.mktemp("images"))
    sessions = {name: open_model(name, threads=2) for name in protos}
    yield sessions, protos
    for session in sessions.values():
        session.close()


any_sizes = strategies.fixed_dictionaries(
    {name: strategies.integers(low, high) for name, (low, high) in BOUNDS.items()}
)


@pytest.mark.parametrize("family", FAMILIES)
@hypothesis.given(sizes=any_sizes, seed=strategies.integers(0, 99))
@hypothesis.example(sizes=SMALLEST, seed=0)
@hypothesis.example(sizes=LARGEST, seed=0)
def test_floats(opened, family, sizes, seed):
    sessions, protos = opened
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape_of(protos[family], sizes)).astype(np.float32)
    reference = onnxruntime.InferenceSession(protos[family].SerializeToString())
    (expected,) = reference.run(None, {"x": x})
    (found,) = sessions[family].run({"x": x}).values()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=3e-5, atol=3e-5)


@pytest.mark.parametrize("name", INTEGERS)
@hypothesis.given(sizes=any_sizes, seed=strategies.integers(0, 99))
@hypothesis.settings(max_examples=6)
@hypothesis.example(sizes=SMALLEST, seed=0)
@hypothesis.example(sizes=LARGEST, seed=0)
def test_eight_bits(opened, name, sizes, seed):
    """The numbers of the model read at that size, every one of them."""
    sessions, protos = opened
    name = name.replace(" ", "_")
    shape = shape_of(protos[name], sizes)
    x = stored_numbers(np.random.default_rng(seed), shape)
    options = BuildOptions(input=(f"x:{'x'.join(map(str, shape))}",), cache_dir=None)
    static = prepare(protos[name], options, silent, target=load_target("host"))
    expected = run_reference(static.model, {"x": x})
    found = sessions[name].run({"x": x})
    for port, values in expected.items():
        np.testing.assert_array_equal(found[port], values)


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (
            lambda g: g("AveragePool", image(g, 4), kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2]),
            "Pool",
        ),
        (
            lambda g: g("Resize", image(g, 4), "", "", np.array([1, 4, 16, 16]), mode="linear"),
            "positions depend on the size",
        ),
        (
            lambda g: g(
                "MaxPool", image(g, 6), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
            ),
            "at other sizes",
        ),
        (lambda g: g("Softmax", conv(g, image(g, 3), 3, 8), axis=1), "softmax"),
    ],
)  # fmt: skip
def test_refused(make, part):
    """By name, with what to give."""
    proto = proto_of(make)
    with pytest.raises(EdgecompError, match=part) as caught:
        dynamic_plan(proto, specs_of(proto))
    assert caught.value.code is Code.DIMENSION_FREE
    assert caught.value.node


def test_heights_and_widths_that_look_alike(tmp_path, rng):
    """At the sizes that a build looks at a third of the width is half of the height."""
    bounds = ["x:1x3x[1..19]x[5..28]"]
    g = Graph()
    x = image(g, 3)
    third = conv(g, x, 3, 4, 3, 3)
    half = g("Relu", g("Sigmoid", conv(g, x, 3, 5, 3, 2)))
    proto = g.proto(third, half)
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    with link([dynamic_plan(proto, bounds)], tmp_path)("model") as session:
        for height, width in ((19, 28), (19, 5), (1, 28), (8, 9)):
            given = rng.standard_normal((1, 3, height, width)).astype(np.float32)
            expected = reference.run(None, {"x": given})
            for found, want in zip(session.run({"x": given}).values(), expected, strict=True):
                assert found.shape == want.shape
                np.testing.assert_allclose(found, want, atol=3e-5)
    # Which one of the two it is a slice does not say.
    every_second = g("Slice", x, np.array([0]), np.array([99]), np.array([2]), np.array([2]))
    with pytest.raises(EdgecompError, match="no simple expression: 10 at h=19,w=28"):
        dynamic_plan(g.proto(third, every_second), bounds)


def test_bounds_with_few_sizes_between_them(tmp_path, rng):
    """The model is read at sizes beyond them; strides behind strides hold there as well."""
    g = Graph()
    proto = g.proto(conv(g, conv(g, image(g, 3), 3, 8, 3, 2), 8, 4, 3, 2))
    reference = onnxruntime.InferenceSession(proto.SerializeToString())
    plan = dynamic_plan(proto, ["x:1x3x[9..10]x[12..14]"])
    with link([plan], tmp_path)("model") as session:
        for height, width in ((9, 12), (10, 13), (10, 14)):
            given = rng.standard_normal((1, 3, height, width)).astype(np.float32)
            (want,) = reference.run(None, {"x": given})
            (found,) = session.run({"x": given}).values()
            assert found.shape == want.shape
            np.testing.assert_allclose(found, want, atol=3e-5)
