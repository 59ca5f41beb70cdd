"""A small network, built for a target with a GPU and run on what stands for its device here."""

import numpy as np
import onnxruntime
import pytest

from edgecomp import api
from edgecomp.native import Session
from edgecomp.options import BuildOptions
from helpers.cuda import emulate, require_nvcc
from helpers.graphs import Graph
from helpers.opencl import reason_without_device

SHAPE = (1, 3, 17, 13)
#: Interface -> target, and the number that sessions give its device.
TARGETS = {"opencl": ("generic-opencl", 1), "cuda": ("cuda-sm90", 2)}


def network(rng, *, softmax=True):
    """Convolutions, a residual, a pool, a resize and a classifier."""

    def weights(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    g = Graph()
    x = g.input("x", SHAPE)
    a = g(
        "Relu", g("Conv", x, weights(12, 3, 3, 3), weights(12), pads=[1] * 4, strides=[2, 2])
    )
    b = g("Conv", a, weights(12, 1, 3, 3), weights(12), pads=[1] * 4, group=12)
    c = g("Add", g("HardSwish", g("Conv", b, weights(12, 12, 1, 1), weights(12))), a)
    d = g("MaxPool", c, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    e = g("Resize", d, "", np.array([1, 1, 2, 2], np.float32), mode="nearest")
    f = g("GlobalAveragePool", e)
    h = g("Gemm", g("Flatten", f), weights(12, 10), weights(10))
    return g.proto(g("Softmax", h, axis=-1) if softmax else h)


def built(proto, folder, target, *, samples=None, **settings):
    """The bundle of a target, below a folder."""
    if target.startswith(("cuda", "jetson")):
        require_nvcc()
    options = BuildOptions(
        target=target,
        output=folder / "bundle",
        cache_dir=folder / "cache",
        name="network",
        **settings,
    )
    return api.build(proto, options, calibration_dataset=samples)


def reference(proto, x):
    """What onnxruntime computes."""
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {"x": x})[0]


def cuda_text_of(bundle):
    """Its CUDA C."""
    return (bundle.directory / "src" / "network.cu").read_text()


def session_of(bundle, **more):
    """A session of its plan for the device, unless another one is asked for."""
    return Session(
        bundle.library_path, weights=bundle.weights_path, **{"plan": "device", **more}
    )


def session_on_device(bundle, **more):
    """The same on the device, or the driver without one, that this machine has."""
    (interface,) = bundle.manifest.devices
    if interface == "cuda":
        emulate(cuda_text_of(bundle))
    elif reason_without_device():
        pytest.skip(reason_without_device())
    return session_of(bundle, **more)


def devices_of(session):
    """Numbers of the devices that compute."""
    return {call.device for call in session.calls if call.schedule != "copy"}
