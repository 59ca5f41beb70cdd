"""A depthwise network on 2,000 digits: int8 accuracy, and half of its channels stripped."""

import numpy as np
import pytest
from helpers.models import digits, digits_data

from edgecomp import api
from edgecomp.bench.device import Device  # noqa: F401 - the type of api's device
from edgecomp.graph.run import run_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("digits")


def accuracy(bundle):
    images, labels, _ = digits_data()
    port, name = bundle.inputs[0].name, bundle.outputs[0].name
    found = [bundle.run({port: image[None]})[name].argmax() for image in images]
    return 100 * float(np.mean(np.array(found) == labels))


@pytest.mark.parametrize("name", ["digits", "digits_pruned"])
def test_int8_keeps_the_accuracy(folder, name, figure):
    model = digits(name)
    port = model.graph.inputs[0].name
    samples = [{port: image[None]} for image in digits_data()[2]]
    quantized = api.quantize(model.clone(), samples)
    rates = [
        accuracy(api.compile(m.clone(), output=folder / f"{name}-{kind}", name=name))
        for kind, m in (("float", model), ("int8", quantized))
    ]
    figure(
        f"{name}, 2,000 test images",
        f"float {rates[0]:.2f} %, int8 {rates[1]:.2f} %",
        "int8 within 0.3 points",
    )
    assert rates[1] >= rates[0] - 0.3


def test_the_stripped_network_equals_the_unstripped_one(folder):
    model = digits("digits_pruned")
    bundle = api.compile(model.clone(), output=folder / "stripped", name="stripped")
    port, name = bundle.inputs[0].name, bundle.outputs[0].name
    largest = 0.0
    for image in digits_data()[0][:100]:
        expected = run_model(model, {port: image[None]})[name]
        found = bundle.run({port: image[None]})[name]
        spread = expected.max() - expected.min()
        largest = max(largest, float(np.abs(found - expected).max() / spread))
    assert largest <= 1e-4
