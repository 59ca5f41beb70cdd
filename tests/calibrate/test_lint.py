"""Every check of calibration data: what it finds, and what it must not find."""

import numpy as np
import pytest
from helpers.graphs import Graph, normal

from edgecomp.calibrate.lint import CHECKS, Subject, lint
from edgecomp.calibrate.observe import Seen, collect_ranges


def network(shape=(1, 3, 8, 8), second=None):
    graph = Graph()
    result = graph("Relu", graph.input("x", shape))
    if second is not None:
        result = graph("Mul", result, graph.input("mask", second))
    return graph.model(result)


def found(samples, model=None, *, requested=0, examples=None, method="mse"):
    seen = Seen()
    collect_ranges(model or network(), samples, method=method, seen=seen)
    subject = Subject(
        requested=requested,
        samples=seen.samples,
        complete=True,
        repeated=seen.repeated,
        inputs=seen.inputs,
        examples=examples or {},
        drifts=seen.drifts,
    )
    return {finding.check: finding for finding in lint(subject)}


def images(rng, count=40, scale=1.0, offset=0.0):
    return [{"x": normal(rng, 1, 3, 8, 8) * np.float32(scale) + offset} for _ in range(count)]


def test_good_samples(rng):
    assert found(images(rng), requested=40, examples={"x": normal(rng, 1, 3, 8, 8)}) == {}


def test_fewer_samples_than_asked_for(rng):
    finding = found(images(rng), requested=50)["fewer-samples"]
    assert finding.text == "50 samples were asked for, 40 found"
    assert "--num-samples" in finding.hint


def test_an_input_that_is_always_the_same():
    samples = [{"x": np.full((1, 3, 8, 8), 0.5, np.float32)} for _ in range(40)]
    checks = found(samples)
    assert checks["constant-input"].text == "every number of input 'x' is 0.5"
    assert "39 of 40 samples" in checks["repeated-samples"].text
    assert "saturated-input" not in checks


def test_blank_samples(rng):
    samples = images(rng)
    for at in range(0, 20, 2):
        samples[at] = {"x": np.full((1, 3, 8, 8), at, np.float32)}
    checks = found(samples)
    assert checks.keys() == {"constant-samples"}
    assert "10 of 40 samples" in checks["constant-samples"].text


def test_repeated_samples(rng):
    assert found(images(rng, 8) * 5).keys() == {"repeated-samples"}


def test_clipped_pixels(rng):
    """0 to 255 where the input is 0 to 1, clipped: nearly all is 1."""
    samples = [
        {"x": np.clip(rng.integers(0, 256, (1, 3, 8, 8)), 0, 1).astype(np.float32)}
        for _ in range(40)
    ]
    assert "saturated-input" in found(samples)
    both = [{"x": np.clip(4 * normal(rng, 1, 3, 8, 8), -1, 1)} for _ in range(40)]
    assert "as if they were clipped" in found(both)["saturated-input"].text


def test_drawings_are_not_clipped(rng):
    """White strokes on black, and the other way around."""
    strokes = [rng.random((1, 3, 8, 8)) < 0.2 for _ in range(40)]
    soft = [s * (0.3 + 0.7 * rng.random(s.shape)).astype(np.float32) for s in strokes]
    assert found([{"x": s.astype(np.float32)} for s in soft]) == {}
    assert found([{"x": 1 - s.astype(np.float32)} for s in soft]) == {}


@pytest.mark.parametrize(
    ("scale", "offset", "wrong"),
    [(60, 128, True), (1, 0, False), (0.25, 0.5, False), (0.05, 0, True), (1, 20, True)],
)
def test_normalization_unlike_the_example(rng, scale, offset, wrong):
    checks = found(
        images(rng, scale=scale, offset=offset), examples={"x": normal(rng, 1, 3, 8, 8)}
    )
    assert ("normalization" in checks) == wrong
    if wrong:
        assert "model's example input" in checks["normalization"].text


def test_an_example_of_zeros_says_nothing(rng):
    example = {"x": np.zeros((1, 3, 8, 8), np.float32)}
    assert found(images(rng, scale=60, offset=128), examples=example) == {}


def test_masks_and_indices_are_no_data(rng):
    model = network((1, 300), (1, 300))
    ones = np.ones((1, 300), np.float32)
    assert found([{"x": normal(rng, 1, 300), "mask": ones} for _ in range(40)], model) == {}
    graph = Graph()
    x = graph.input("x", (1, 300), np.int64)
    model = graph.model(graph("Gather", normal(rng, 10, 4), x))
    assert found([{"x": np.full((1, 300), at % 10)} for at in range(10)], model) == {}


@pytest.mark.parametrize("method", ["mse", "minmax", "ema"])
def test_ranges_that_have_not_settled(rng, method):
    early, late = images(rng), images(rng, scale=30)
    checks = found(early + late, method=method)
    assert checks.keys() == {"unsettled-ranges"}
    assert "'x' is" in checks["unsettled-ranges"].text or "'v0' is" in (
        checks["unsettled-ranges"].text
    )
    assert found(images(rng, 80), method=method) == {}


def test_every_finding_has_a_hint():
    assert all(hint and not hint.endswith(".") for _, hint in CHECKS.values())
