"""How fast whole models are beside other ways to run them. Prints ratios, asserts no time."""

import pytest
from helpers.classifiers import classifier
from helpers.models import digits, digits_data
from helpers.timing import ratio_text, times_as_fast

from edgecomp import api
from edgecomp.bench.compare import compare_engines
from edgecomp.bench.local import local_device
from edgecomp.bench.runner import MeasureOptions
from edgecomp.graph.compare import MODEL_TOLERANCE, relative_difference
from edgecomp.graph.run import run_model
from edgecomp.options import QuantizeOptions


def test_float_against_onnxruntime(tmp_path, figure):
    name = "mobilenet_v2"
    model = classifier(name)
    bundle = api.compile(model.clone(), output=tmp_path / name, name=name)
    feeds = bundle.golden[0].inputs
    (expected,) = run_model(model, feeds).values()
    (found,) = bundle.run(feeds).values()
    assert relative_difference(found, expected) <= MODEL_TOLERANCE
    (comparison,) = compare_engines(
        bundle, local_device(), ["onnxruntime"], MeasureOptions(threads=1), max_seconds=6
    )
    figure(
        f"{name} float, one thread, bundle against onnxruntime",
        f"{ratio_text(comparison.ratio)}, "
        f"{comparison.own.p50_ns / 1e6:.1f} ms and {comparison.other.p50_ns / 1e6:.1f} ms",
        "at least 1.00",
    )
    assert comparison.ratio.rounds >= 5


@pytest.mark.parametrize("precision", ["fp32", "w8a8"])
def test_stripped_against_unstripped(precision, tmp_path, figure):
    model = digits("digits_pruned")
    port = model.graph.inputs[0].name
    samples = [{port: image[None]} for image in digits_data()[2]]
    bundles = []
    for strip in (True, False):
        options = QuantizeOptions(precision=precision, strip_pruned=strip)
        portable = api.quantize(model.clone(), samples, options=options)
        output = tmp_path / f"strip_{strip}"
        bundles.append(api.compile(portable, output=output, name="digits", strip_pruned=strip))
    done = [bundle.report["coverage"]["multiply_adds"] for bundle in bundles]
    figure(
        f"digits with half of its channels zero, {precision}, stripped against unstripped",
        f"{ratio_text(times_as_fast(*bundles))}, {done[1] / done[0]:.1f} times fewer "
        f"multiply-adds",
        "at least 1.50",
    )
    assert done[1] / done[0] >= 1.5
