"""Small networks through the whole compiler: float against onnxruntime, int8 against the reference."""

import functools

import numpy as np
import pytest
from helpers import networks
from helpers.plans import PlanRunner
from helpers.targets import AVX2, reason_not_runnable

from edgecomp import api
from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.graph.run import random_feeds, run_model
from edgecomp.lower.lower import lower
from edgecomp.passes.pipeline import float_passes, run_passes
from edgecomp.reference.interpreter import run_reference

#: docs/numerics.md, "Tolerances": float models.
RANGE_TOLERANCE = 1e-4


@functools.cache
def model(name):
    module, args = networks.networks()[name]
    loaded = load_model(module, args=args)
    run_passes(loaded, float_passes())
    return loaded


def samples(name, count):
    return [random_feeds(model(name), seed=seed) for seed in range(count)]


def close(found, expected):
    assert found.keys() == expected.keys()
    for name, wanted in expected.items():
        spread = max(float(wanted.max() - wanted.min()), 1e-3)
        assert np.abs(found[name] - wanted).max() <= RANGE_TOLERANCE * spread, name


@pytest.mark.parametrize("name", networks.NAMES)
@pytest.mark.parametrize("target", ["host", "avx2"])
def test_float(name, target):
    chosen = load_target("host") if target == "host" else AVX2
    if reason := reason_not_runnable(chosen):
        pytest.skip(reason)
    lowered = lower(model(name), chosen, name=name)
    runner = PlanRunner(lowered.plan)
    for feeds in samples(name, 2):
        close(runner.run(feeds), run_model(model(name), feeds))


@pytest.mark.parametrize("name", [n for n in networks.NAMES if n != "text_encoder"])
@pytest.mark.parametrize("target", ["host", "avx2"])
def test_int8(name, target):
    chosen = load_target("host") if target == "host" else AVX2
    if reason := reason_not_runnable(chosen):
        pytest.skip(reason)
    quantized = api.quantize(model(name).clone(), samples(name, 4))
    assert any(node.op_type == "QuantizeLinear" for node in quantized.graph)
    runner = PlanRunner(lower(quantized, chosen, name=name).plan)
    feeds = samples(name, 1)[0]
    close(runner.run(feeds), run_reference(quantized, feeds))
