"""Accuracy of trained models in integers, as the numpy reference computes them."""

import numpy as np
import pytest
from helpers.models import digits, digits_data

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.calibrate.ranges import METHODS
from edgecomp.calibrate.readers import open_calibration
from edgecomp.graph.run import Runner
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.pipeline import float_passes, run_passes
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import values_to_observe
from edgecomp.reference.interpreter import Reference


def prepared(model):
    model = model.clone()
    run_passes(model, float_passes())
    return model


def quantized(model, images, method):
    inputs, options = model.graph.inputs, InsertQdqOptions()
    names = values_to_observe(model.graph, options)
    calibration = open_calibration(images, inputs)
    ranges = collect_ranges(model, calibration, method=method, values=names)
    result = model.clone()
    run_passes(result, [InsertQdqPass(ranges, options)])
    return result


def scores(run, model, images):
    (given,), (wanted,) = model.graph.inputs, model.graph.outputs
    return np.concatenate([run({given.name: image[None]})[wanted.name] for image in images])


def correct(found, labels):
    return int((found.argmax(axis=1) == labels).sum())


@pytest.mark.parametrize("method", METHODS)
def test_the_digits_network_keeps_its_accuracy(method, figure):
    pytest.importorskip("torch", reason="the network is a torch module")
    model = prepared(digits())
    images, labels, calibration = digits_data()
    if method != "mse":
        images, labels = images[:500], labels[:500]
    allowed = 0.3 if method == "mse" else 0.6  # three of 500
    result = quantized(model, calibration, method)
    float_scores = scores(Runner(model, threads=1), model, images)
    int8_scores = scores(Runner(result, threads=1), model, images)
    real = correct(float_scores, labels) * 100 / len(images)
    found = correct(int8_scores, labels) * 100 / len(images)
    figure(
        f"digits, {method} ranges, {len(images)} images",
        f"float {real:.2f} %, int8 {found:.2f} %",
        f"int8 within {allowed} points",
    )
    assert found >= real - allowed
    # onnxruntime ran all of them; the reference agrees with it on some.
    exact = scores(Reference(result), model, images[:50])
    assert correct(exact, int8_scores[:50].argmax(axis=1)) >= 49
