"""The networks of ``test_dynamic_images.py`` on GPUs."""

import numpy as np
import onnxruntime
import pytest
from helpers.cuda import emulate, require_nvcc
from helpers.dynamic import dynamic_lowered, dynamic_plan, link
from helpers.dynamic_image_families import (
    FAMILIES,
    INTEGERS,
    LARGEST,
    SMALLEST,
    conv,
    image,
    integer_proto,
    mean_proto,
    pixel_proto,
    proto_of,
    shape_of,
    specs_of,
    weights,
)
from helpers.gpu_bundles import TARGETS, devices_of, images_of, target_with_textures
from helpers.opencl import reason_without_device
from helpers.qdq import stored_numbers

from edgecomp.device.load import load_target
from edgecomp.options import BuildOptions
from edgecomp.progress import silent
from edgecomp.reference.interpreter import run_reference
from edgecomp.steps.prepare import prepare

#: Without what no GPU has a kernel for.
FLOATS = [name for name in FAMILIES if name not in ("lstm", "gru", "totals")]
SIZES = (LARGEST, SMALLEST, *({"h": h, "w": w, "b": b, "s": s} for h, w, b, s in (
    (40, 11, 2, 3), (9, 70, 3, 2), (23, 12, 1, 17), (10, 33, 2, 39), (17, 25, 3, 4),
)))  # fmt: skip


@pytest.fixture(scope="module", params=TARGETS)
def made(request, tmp_path_factory):
    """Plans of all networks, and what opens one."""
    api = request.param
    if api == "cuda":
        require_nvcc()
    elif reason_without_device():
        pytest.skip(reason_without_device())
    protos = {name: proto_of(FAMILIES[name]) for name in FLOATS}
    protos |= {n.replace(" ", "_"): integer_proto(form) for n, form in INTEGERS.items()}
    protos |= {"pixels": pixel_proto(), "means": mean_proto()}
    plans = {
        name: dynamic_plan(proto, specs_of(proto), name, target=TARGETS[api][0])
        for name, proto in protos.items()
    }
    open_model = link([*plans.values()], tmp_path_factory.mktemp("images"))

    def opened(name):
        if api == "cuda":
            emulate(plans[name].programs[0].text)
        return open_model(name, plan="device")

    return opened, protos, TARGETS[api][1]


@pytest.mark.parametrize("family", FLOATS)
def test_floats(made, family, rng):
    opened, protos, device = made
    reference = onnxruntime.InferenceSession(protos[family].SerializeToString())
    with opened(family) as session:
        assert devices_of(session) == {device}
        for sizes in SIZES:
            x = rng.standard_normal(shape_of(protos[family], sizes)).astype(np.float32)
            (expected,) = reference.run(None, {"x": x})
            (found,) = session.run({"x": x}).values()
            assert found.shape == expected.shape
            np.testing.assert_allclose(
                found, expected, rtol=3e-5, atol=3e-5, err_msg=str(sizes)
            )


#: With convolutions of channels in fours: dense, grouped and depthwise, with halos and without.
OF_TEXELS = ("residual", "margins", "pillars", "pyramid", "corner", "mixed")


def mixed(g):
    """All kinds of kernels that read activations in vectors; rows of pixels through a product."""
    x = conv(g, image(g, 4, "b"), 4, 24, 3, 2)
    y = g("Relu", conv(g, x, 24, 24, 5, groups=24))
    y = g("Add", conv(g, y, 24, 24, 3, groups=3), x)
    y = g("Relu", conv(g, y, 24, 40))
    y = g("Transpose", y, perm=[0, 2, 3, 1])
    return g("MatMul", g("Relu", g("MatMul", y, weights(40, 36))), weights(36, 7))


@pytest.mark.parametrize("floats", ["float32", "float16"])
def test_texels(floats, tmp_path, rng):
    """Activations are read as images of the largest sizes, of which a run has the first texels."""
    if reason_without_device():
        pytest.skip(reason_without_device())
    target = target_with_textures(tmp_path)
    protos = {name: proto_of({**FAMILIES, "mixed": mixed}[name]) for name in OF_TEXELS}
    plans = [
        dynamic_lowered(proto, specs_of(proto), name, target, floats=floats).plan
        for name, proto in protos.items()
    ]
    open_model = link(plans, tmp_path)
    for plan in plans:
        read = images_of(plan)
        assert [0, 1] in read, plan.name
        assert plan.name != "mixed" or read == [[0, 1]] * 6
        proto = protos[plan.name]
        reference = onnxruntime.InferenceSession(proto.SerializeToString())
        with open_model(plan.name, plan="device") as session:
            assert devices_of(session) == {TARGETS["opencl"][1]}
            for sizes in SIZES[:5]:
                x = rng.standard_normal(shape_of(proto, sizes)).astype(np.float32)
                (want,) = reference.run(None, {"x": x})
                (found,) = session.run({"x": x}).values()
                limit = {"float32": 3e-5, "float16": 5e-3}[floats] * max(1, np.abs(want).max())
                np.testing.assert_allclose(found, want, rtol=0, atol=limit, err_msg=str(sizes))


@pytest.mark.parametrize("name", [*INTEGERS, "pixels", "means"])
def test_eight_bits(made, name, rng):
    """The numbers of the model read at that size, every one of them."""
    opened, protos, device = made
    name = name.replace(" ", "_")
    with opened(name) as session:
        assert devices_of(session) == {device}
        if name == "pixels":
            schedules = {call.schedule for call in session.calls}
            assert ("cuda_tensor_product" in schedules) == (device == TARGETS["cuda"][1])
        for sizes in SIZES[:5]:
            shape = shape_of(protos[name], sizes)
            x = stored_numbers(rng, shape)
            options = BuildOptions(input=(f"x:{'x'.join(map(str, shape))}",), cache_dir=None)
            static = prepare(protos[name], options, silent, target=load_target("host"))
            expected = run_reference(static.model, {"x": x})
            found = session.run({"x": x})
            for port, values in expected.items():
                np.testing.assert_array_equal(found[port], values, err_msg=str(sizes))
