"""Which nodes a step is for."""

import pytest
from helpers.graphs import Graph, normal

from edgecomp.errors import Code, EdgecompError
from edgecomp.recipe.read import recipe_of
from edgecomp.recipe.resolve import settings_of
from edgecomp.recipe.settings import LayerSettings


@pytest.fixture
def graph(rng):
    g = Graph()
    x = g.input("x", (1, 3, 6, 6))
    a = g("Conv", x, normal(rng, 4, 3, 3, 3), name="stem")
    b = g("Relu", a, name="act")
    c = g("Conv", b, normal(rng, 2, 4, 1, 1), name="head.class")
    d = g("Conv", b, normal(rng, 2, 4, 1, 1), name="head.box")
    return g.model(c, d).graph


def floats(graph, *steps):
    settings = settings_of(graph, recipe_of(list(steps)), LayerSettings())
    return {name for name, own in settings.items() if own.precision == "fp32"}


@pytest.mark.parametrize(
    ("step", "names"),
    [
        ({}, {"stem", "act", "head.class", "head.box"}),
        ({"targets": ["stem"]}, {"stem"}),
        ({"targets": ["Conv"]}, {"stem", "head.class", "head.box"}),
        ({"targets": ["re:head.*"]}, {"head.class", "head.box"}),
        ({"targets": ["Conv", "act"], "ignore": ["re:.*box"]}, {"stem", "act", "head.class"}),
        ({"ignore": ["Conv"]}, {"act"}),
    ],
)
def test_targets(graph, step, names):
    assert floats(graph, {"pass": "float", **step}) == names


def test_the_later_step_holds(graph):
    steps = [
        {"pass": "float"},
        {"pass": "quantize", "targets": ["Conv"], "args": {"calibration_method": "minmax"}},
        {"pass": "float", "targets": ["stem"]},
        {"pass": "bias_correction"},
        {"pass": "bias_correction", "targets": ["head.box"], "args": {"enabled": False}},
    ]
    found = settings_of(graph, recipe_of(steps), LayerSettings())
    assert [found[n].precision for n in ("stem", "act", "head.box")] == [
        "fp32",
        "fp32",
        "w8a8",
    ]
    assert found["stem"].reason == "the recipe leaves it float"
    assert found["act"].reason == ""
    assert found["head.box"].calibration_method == "minmax"
    assert found["head.box"].range_step == 1
    assert not found["head.box"].bias_correction
    assert found["head.class"].bias_correction


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("steem", "did you mean 'stem'?"),
        ("Conf", "did you mean 'Conv'?"),
        ("re:heads.*", "known: Conv"),
        ("re:(", "matched as a whole"),
    ],
)
@pytest.mark.parametrize("key", ["targets", "ignore"])
def test_nothing_matches(graph, target, hint, key):
    with pytest.raises(EdgecompError) as caught:
        floats(graph, {"pass": "float", key: [target]})
    assert caught.value.code is Code.RECIPE_INVALID
    assert hint in caught.value.hint or "did you mean" in caught.value.hint
