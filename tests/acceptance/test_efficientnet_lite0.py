"""EfficientNet-Lite0 with its ImageNet weights, float and int8, on every kind of CPU."""

import numpy as np
import pytest
from helpers.models import efficientnet, imagenet_images
from helpers.targets import reason_not_runnable
from helpers.timing import Steps, ratio_text, times_as_fast

from edgecomp import api
from edgecomp.bench.local import local_device
from edgecomp.bench.runner import MeasureOptions
from edgecomp.device.load import load_target
from edgecomp.graph.run import run_model
from edgecomp.reference.interpreter import run_reference

#: Core -> target that has it.
EMULATED = {
    "cortex-a53": "raspberry-pi-3",
    "cortex-a76": "raspberry-pi-5",
    "armv7": "armv7-linux",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("efficientnet")


@pytest.fixture(scope="module")
def from_scratch(folder):
    """The quantized model, its bundle for the host, and the steps: all from torch, nothing kept."""
    images, _ = imagenet_images()
    steps = Steps("trace")
    model = efficientnet.__wrapped__()
    name = model.graph.inputs[0].name
    quantized = api.quantize(model, [{name: image[None]} for image in images], progress=steps)
    cache = folder / "cache"
    bundle = build(quantized, "host", folder, "int8", cache_dir=cache, progress=steps)
    steps.end()
    return quantized, bundle, steps


@pytest.fixture(scope="module")
def quantized(from_scratch):
    return from_scratch[0]


@pytest.fixture(scope="module")
def int8_host(from_scratch):
    return from_scratch[1]


def build(model, target, folder, name, **settings):
    output = folder / f"{name}-{target}"
    return api.compile(model.clone(), target, output=output, name=name, **settings)


def outputs_of(bundle, images, device="local"):
    port = bundle.inputs[0].name
    (name,) = (output.name for output in bundle.outputs)
    return np.stack([api.run(bundle, {port: i[None]}, device)[name][0] for i in images])


@pytest.fixture(scope="module")
def float_host(folder):
    return build(efficientnet(), "host", folder, "float32")


def expected_float(images):
    model = efficientnet()
    name = model.graph.inputs[0].name
    return np.concatenate(
        [next(iter(run_model(model, {name: image[None]}).values())) for image in images]
    )


def test_float_equals_onnxruntime_on_the_host(float_host, figure):
    images, _ = imagenet_images()
    expected = expected_float(images[:4])
    difference = relative(outputs_of(float_host, images[:4]), expected)
    figure(
        "EfficientNet-Lite0 float, host against onnxruntime",
        f"{difference:.1e} of range",
        "at most 1e-4",
    )
    assert difference <= 1e-4


def test_float_equals_onnxruntime_under_qemu(folder, figure):
    core = "cortex-a76"
    target = load_target(EMULATED[core])
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    images, _ = imagenet_images()
    bundle = build(efficientnet(), target.name, folder, "float32")
    difference = relative(outputs_of(bundle, images[:1], "qemu"), expected_float(images[:1]))
    figure(
        f"EfficientNet-Lite0 float, {core} under qemu against onnxruntime",
        f"{difference:.1e} of range",
        "at most 1e-4",
    )
    assert difference <= 1e-4


def relative(found, expected):
    return float(np.abs(found - expected).max() / (expected.max() - expected.min()))


def test_int8_equals_the_reference_on_the_host(int8_host, quantized, figure):
    images, _ = imagenet_images()
    found = outputs_of(int8_host, images[:2])
    expected = [reference_output(quantized, image) for image in images[:2]]
    different = int(np.sum(found != np.concatenate(expected)))
    figure(
        "EfficientNet-Lite0 int8, host against the numpy reference",
        f"{different} of {found.size} outputs differ",
        "0",
    )
    assert different == 0


def reference_output(model, image):
    name = model.graph.inputs[0].name
    return next(iter(run_reference(model, {name: image[None]}).values()))


@pytest.mark.parametrize("core", EMULATED)
def test_int8_bits_are_the_same_under_qemu(folder, int8_host, quantized, core, figure):
    target = load_target(EMULATED[core])
    if reason := reason_not_runnable(target):
        pytest.skip(reason)
    images, _ = imagenet_images()
    bundle = build(quantized, target.name, folder, "int8")
    found = outputs_of(bundle, images[:1], "qemu")
    expected = outputs_of(int8_host, images[:1])
    same = found.tobytes() == expected.tobytes()
    figure(
        f"EfficientNet-Lite0 int8, {core} under qemu against the host",
        "same bits" if same else "different bits",
        "same bits",
    )
    assert same


def test_int8_top1_of_20_images(float_host, int8_host, figure):
    images, labels = imagenet_images()
    right = {
        name: int(np.sum(outputs_of(bundle, images).argmax(1) == labels))
        for name, bundle in (("float", float_host), ("int8", int8_host))
    }
    figure(
        "EfficientNet-Lite0 top-1 on 20 images",
        f"float {right['float']}, int8 {right['int8']}",
        "int8 within one of float",
    )
    assert abs(right["float"] - right["int8"]) <= 1


def test_the_arena_is_near_its_bound(float_host, int8_host, figure):
    for name, bundle in (("float", float_host), ("int8", int8_host)):
        memory = bundle.manifest.memory
        ratio = memory.arena_bytes / memory.arena_bound_bytes
        figure(
            f"EfficientNet-Lite0 {name} arena",
            f"{ratio:.3f} x the largest sum of live "
            f"tensors ({memory.arena_bytes / 1e6:.2f} MB)",
            "at most 1.05",
        )
        assert ratio <= 1.05


def test_int8_is_faster_than_float(float_host, int8_host, figure):
    figure(
        "EfficientNet-Lite0 on the host, one thread, int8 against float",
        ratio_text(times_as_fast(int8_host, float_host)),
    )


def test_memory_and_first_run(float_host, int8_host, figure):
    for name, bundle in (("float", float_host), ("int8", int8_host)):
        found = local_device().measure(bundle, MeasureOptions(num_runs=20))
        figure(
            f"EfficientNet-Lite0 {name}, a process of its own",
            f"load {found.load_ns / 1e6:.1f} ms, first run {found.first_run_ns / 1e6:.1f} ms, "
            f"then {found.wall.p50_ns / 1e6:.1f} ms, peak memory "
            f"{found.peak_rss_bytes / 2**20:.1f} MiB",
        )
        assert found.peak_rss_bytes > bundle.manifest.memory.arena_bytes


def test_build_from_scratch(from_scratch, figure):
    _, bundle, steps = from_scratch
    figure(
        "build of EfficientNet-Lite0 int8, empty kernel cache",
        f"{sum(steps.seconds.values()):.0f} s ({steps})",
        "under 60 s on 2 cores",
    )
    assert {"calibrate", "compile kernels"} <= set(steps.seconds)
    assert api.verify(bundle).checks
