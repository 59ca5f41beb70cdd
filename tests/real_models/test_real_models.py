"""Real models on real data: float equals onnxruntime, int8 keeps near it.

The smallest runs always; all that are installed with EDGECOMP_REAL_MODELS=all, or those that the
variable names. ``tests/benchmarks/real_models.py`` measures their tasks on all samples.
"""

import os

import pytest

from edgecomp import api
from real_models import forms
from real_models.catalogue import MODELS

QUICK = "magika"
#: Samples for a build and for a comparison.
CALIBRATION, SAMPLES = 40, 12
#: Least signal to noise of int8, dB; the outputs of BlazeFace are far apart in size.
LEAST_DB = {"magika": 30.0, "blazeface": 3.0, "ocr_detection": 10.0, "ocr_recognition": 10.0}


def chosen():
    """Names that the environment asks for."""
    asked = os.environ.get("EDGECOMP_REAL_MODELS", QUICK)
    return {model.name for model in MODELS} if asked == "all" else set(asked.split(","))


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.name)
def real(request, tmp_path_factory):
    """Model, file, samples and what onnxruntime makes of them."""
    model = request.param
    if reason := model.missing():
        pytest.skip(reason)
    if model.name not in chosen():
        pytest.skip("EDGECOMP_REAL_MODELS does not name it")
    path = model.onnx(tmp_path_factory.mktemp(model.name))
    samples = model.samples()
    feeds = samples[:: max(1, len(samples) // SAMPLES)]
    return model, path, feeds, forms.onnxruntime_outputs(path, feeds)


def test_float_equals_onnxruntime(real, tmp_path, figure):
    model, path, feeds, expected = real
    bundle = forms.build(model, path, tmp_path, "fp32")
    assert api.verify(bundle).checks
    found = forms.bundle_outputs(bundle, feeds)
    distance = forms.distance(found, expected)
    figure(f"{model.name} float against onnxruntime", f"{distance:.1e} of range", "1e-4")
    if distance > model.distance:
        # magika has E[x^2] - E[x]^2, which loses digits in onnxruntime on some files.
        exact = forms.float64_outputs(path, feeds)
        ours, theirs = (forms.distance(outputs, exact) for outputs in (found, expected))
        figure(f"{model.name}, both against float64", f"{ours:.1e}, onnxruntime {theirs:.1e}")
        assert ours <= model.distance < theirs


def test_int8_is_near_float(real, tmp_path, figure):
    model, path, feeds, expected = real
    bundle = forms.build(model, path, tmp_path, "w8a8", most_samples=CALIBRATION)
    assert api.verify(bundle).checks
    found = forms.signal_to_noise(forms.bundle_outputs(bundle, feeds), expected)
    least = LEAST_DB.get(model.name, 12.0)
    figure(f"{model.name} int8 against float", f"{found:.1f} dB", f"{least:g} dB")
    assert found >= least
