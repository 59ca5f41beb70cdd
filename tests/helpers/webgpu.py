"""Run kernels as WGSL on a device with WebGPU: Mesa's lavapipe, through the package wgpu."""

import functools

import numpy as np
import pytest

from edgecomp.plan.values import SLACK_BYTES, Value
from edgecomp.schedules.schedule import Constant
from edgecomp.schedules.shader.wgsl import plain_use, wgsl_source

_PATTERN = 0xA5
_NEEDS = "pip install wgpu, apt install mesa-vulkan-drivers"


@functools.cache
def _found():
    """A device, or why there is none."""
    try:
        import wgpu
    except ImportError:
        return None, f"no WebGPU: the package wgpu is not installed ({_NEEDS})"
    try:
        adapters = [
            adapter
            for adapter in wgpu.gpu.enumerate_adapters_sync()
            if adapter.info["backend_type"] == "Vulkan"
        ]
    except (RuntimeError, OSError) as error:
        return None, f"no WebGPU: {error} ({_NEEDS})"
    if not adapters:
        return None, f"no WebGPU: no Vulkan driver is installed ({_NEEDS})"
    wanted = ["shader-f16"] if "shader-f16" in adapters[0].features else []
    return adapters[0].request_device_sync(required_features=wanted), ""


def webgpu_device():
    """The device; skips where there is none."""
    device, reason = _found()
    if device is None:
        pytest.skip(reason)
    return device


def has_f16():
    """Whether the device computes in 16 bits."""
    return "shader-f16" in webgpu_device().features


def run_webgpu_calls(calls, buffers):
    """Run calls in order; see ``helpers.kernels.run_calls``.

    Behind each buffer lie bytes that kernels may read but not write.
    """
    device = webgpu_device()
    import wgpu

    uses = {call.kernel.symbol: plain_use(call.kernel) for call in calls}
    text = wgsl_source([call.kernel for call in calls], uses.values())
    module = device.create_shader_module(code=text)
    made, before = {}, {}
    for argument in (argument for call in calls for argument in call.arguments):
        if argument in made:
            continue
        array = _contents(argument, buffers)
        raw = np.full(-(-array.nbytes // 4) * 4 + SLACK_BYTES, _PATTERN, np.uint8)
        raw[: array.nbytes] = array.view(np.uint8)
        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_SRC
        made[argument] = device.create_buffer_with_data(data=raw, usage=usage)
        before[argument] = raw, array.nbytes
    for call in calls:
        _dispatch(device, module, call, [made[a] for a in call.arguments])
    results = {}
    for argument, (raw, size) in before.items():
        after = np.frombuffer(device.queue.read_buffer(made[argument]), np.uint8)
        assert (after[size:] == raw[size:]).all(), "wrote past the end"
        if isinstance(argument, Value):
            results[argument] = after[:size].copy().view(argument.stored)
        else:
            assert (after == raw).all(), "wrote to a constant"
    return results


def _contents(argument, buffers):
    if isinstance(argument, Constant):
        return np.ascontiguousarray(argument.array).reshape(-1)
    if argument in buffers:
        return np.ascontiguousarray(buffers[argument])
    if argument.constant is not None:
        return np.ascontiguousarray(argument.constant).reshape(-1)
    return np.full(argument.bytes, _PATTERN, np.uint8)


def _dispatch(device, module, call, buffers):
    pipeline = device.create_compute_pipeline(
        layout="auto", compute={"module": module, "entry_point": call.kernel.symbol}
    )
    group = device.create_bind_group(
        layout=pipeline.get_bind_group_layout(0),
        entries=[
            {
                "binding": number,
                "resource": {"buffer": buffer, "offset": 0, "size": buffer.size},
            }
            for number, buffer in enumerate(buffers)
        ],
    )
    encoder = device.create_command_encoder()
    run = encoder.begin_compute_pass()
    run.set_pipeline(pipeline)
    run.set_bind_group(0, group)
    sizes = zip(call.launch.global_sizes, call.launch.local_sizes, strict=True)
    run.dispatch_workgroups(*(whole // items for whole, items in sizes))
    run.end()
    device.queue.submit([encoder.finish()])
