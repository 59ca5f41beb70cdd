"""Weights of 16 bits under activations of 8: parts of them, brought together as docs/numerics.md says."""

import numpy as np
import pytest
from helpers.plans import PlanRunner
from helpers.qdq import QdqGraph
from helpers.targets import AVX2

from edgecomp.frontend.load import load_model
from edgecomp.lower.lower import lower
from edgecomp.reference.interpreter import run_reference


@pytest.mark.parametrize(("window", "parts"), [(3, 2), (25, 3)])
def test_a_depthwise_convolution_of_any_window(window, parts, rng):
    """Parts come as float32, whose whole numbers end at 2^24: of more taps there are more."""
    g = QdqGraph()
    x = g.stored("x", (1, 3, window + 1, window + 2), 0.1, 0)
    array = rng.integers(32_400, 32_513, (3, 1, window, window)).astype(np.int16)
    weight = g.dequantize(g.constant(array), 1e-4, 0, np.int16)
    model = load_model(g.proto(g("Conv", x, weight, group=3)))
    lowered = lower(model, AVX2, name="m")
    assert sum("depthwise" in call.kernel for call in lowered.plan.calls) == parts
    feeds = {"x": rng.integers(200, 256, (1, 3, window + 1, window + 2)).astype(np.uint8)}
    (found,) = PlanRunner(lowered.plan).run(feeds).values()
    (wanted,) = run_reference(model, feeds).values()
    np.testing.assert_array_equal(found, wanted)
