"""A small network, built for a target with a GPU and run on what stands for its device here."""

import json
import re

import numpy as np
import onnxruntime
import pytest

from edgecomp import api
from edgecomp.device.load import load_target
from edgecomp.native import Session
from edgecomp.options import BuildOptions
from edgecomp.resources import resource_folder
from helpers.cuda import emulate, require_nvcc
from helpers.opencl import reason_without_device

#: Interface -> target, and the number that sessions give its device.
TARGETS = {"opencl": ("generic-opencl", 1), "cuda": ("cuda-sm90", 2)}


def api_of(target):
    """The interface of a target's GPU, "" where it has none."""
    gpu = load_target(target).gpu
    return gpu.api if gpu is not None else ""


def built(proto, folder, target, *, samples=None, **settings):
    """The bundle of a target, below a folder."""
    if api_of(target) == "cuda":
        require_nvcc()
    options = BuildOptions(
        target=target,
        output=folder / "bundle",
        cache_dir=folder / "cache",
        name="network",
        **settings,
    )
    return api.build(proto, options, calibration_dataset=samples)


def target_of_speed(folder, gigaflops, microseconds, name="generic-opencl"):
    """The file of a target whose GPU has another speed."""
    text = (resource_folder("targets") / f"{name}.toml").read_text()
    text = re.sub("aliases = .*\n", "", text).replace(name, "other")
    text = re.sub("(giga[a-z_]*) = .*", rf"\1 = {gigaflops}", text)
    text = re.sub("([a-z]*_us) = .*", rf"\1 = {microseconds}", text)
    text = re.sub("(copy_giga[a-z_]*) = .*", r"\1 = 10.0", text)
    path = folder / "other.toml"
    path.write_text(text)
    return path


#: Of a target that reads weights and activations as images.
TEXTURES = """
[gpu.textures]
width = 16384
height = 16384
row_texels = 64
base_texels = 64

"""


def images_of(plan):
    """Of each call of a plan that reads images, the numbers of those arguments."""
    launches = [call.launch for call in plan.calls if call.launch]
    return [[image.argument for image in each.images] for each in launches if each.images]


def target_file(folder, name, *changes):
    """The file of a target beside this machine's processor, with other text in places."""
    text = (resource_folder("targets") / f"{name}.toml").read_text()
    for old, new in (("aliases", "# aliases"), (name, "other"), *changes):
        assert old in text
        text = text.replace(old, new)
    path = folder / "other.toml"
    path.write_text(text)
    return str(path)


def target_with(folder, *changes):
    """The file of generic-opencl with other facts: what is there, and what stands in its place."""
    return target_file(folder, "generic-opencl", *changes)


def target_with_textures(folder):
    """The file of generic-opencl, for a device that reads images."""
    return target_with(folder, ("[sources]", f"{TEXTURES}[sources]"))


def target_with_local_memory(folder, registers=64, *, texels=False):
    """The file of generic-opencl, for a device whose local memory is fast; it may read images."""
    return target_with(
        folder,
        ("[gpu]\n", "[gpu]\nfast_local_memory = true\nbusy_items = 64\n"),
        ("registers = 64", f"registers = {registers}"),
        ("[sources]", f"{TEXTURES if texels else ''}[sources]"),
    )


def with_older_tensor_cores(folder):
    """The file of cuda-sm90, with the instructions of jetson-xavier, which later devices have too."""
    every = "bf16_mma", "fp16_mma", "int8_dot", "int8_mma", "tf32_mma"
    older = sorted(load_target("jetson-xavier").gpu.features)
    return target_file(folder, "cuda-sm90", (json.dumps(every)[1:-1], json.dumps(older)[1:-1]))


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


def assert_bits_of_the_processor(bundle, samples):
    """The device's results are those of the bundle's CPU plan."""
    with session_on_device(bundle) as session, session_of(bundle, plan="cpu") as processor:
        for sample in samples:
            (found,) = session.run(sample).values()
            (expected,) = processor.run(sample).values()
            np.testing.assert_array_equal(found, expected)
