"""``shaders/<name>.json``: all that an app needs to run a model on its own GPU code.

docs/webgpu.md describes the file. It says of each call the kernel, how many groups of how many work
items start, and what memory each binding is; of the weights, which parts of ``weights.bin`` lie
where in the app's buffer of weights.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgecomp.plan.plan import (
    Plan,
    PlanCall,
    PlanPort,
    PlanTensor,
    ShaderCall,
    ShaderPlan,
    Storage,
)
from edgecomp.plan.values import SLACK_BYTES

FORMAT, SCHEMA = "edgecomp-launch-table", 1
#: Sizes of bindings are multiples of it, as WebGPU wants of arrays of vec4<f32>.
_BINDING_BYTES = 16
_KINDS = {Storage.ARENA: "arena", Storage.WEIGHTS: "weights"}


def table_text(shaders: ShaderPlan, *, source: str, weights: str) -> str:
    """The file's text.

    Args:
        shaders: the plan.
        source: file name of the kernels, beside the table.
        weights: path of the weights file from the table's folder.
    """
    parts = _weight_parts(shaders)
    places = dict(parts)
    table = {
        "format": FORMAT,
        "schema": SCHEMA,
        "name": shaders.plan.name,
        "language": shaders.language,
        "source": source,
        "requires": _requirements(shaders, parts),
        "arena": {"bytes": shaders.plan.arena_bytes},
        "weights": {
            "file": weights,
            "bytes": _end(parts),
            "parts": [
                {"file_offset": tensor.offset_bytes, "offset": at, "bytes": tensor.bytes}
                for tensor, at in parts
            ],
        },
        "inputs": [_port(shaders.plan, port, places) for port in shaders.plan.inputs],
        "outputs": [_port(shaders.plan, port, places) for port in shaders.plan.outputs],
        "calls": [
            _call(shaders.plan, planned, call, places)
            for planned, call in zip(shaders.plan.calls, shaders.calls, strict=True)
        ],
    }
    return json.dumps(table, indent=1, ensure_ascii=False) + "\n"


_Parts = Sequence[tuple[PlanTensor, int]]
#: Where constants lie in the app's buffer.
_Places = Mapping[PlanTensor, int]


def _weight_parts(shaders: ShaderPlan) -> list[tuple[PlanTensor, int]]:
    """Constants that calls read, each with its place in the app's buffer."""
    tensors = shaders.plan.tensors
    ports = [port.tensor for port in (*shaders.plan.inputs, *shaders.plan.outputs)]
    called = [index for call in shaders.calls for index in call.tensors]
    used = dict.fromkeys([*called, *ports])
    constants = [tensors[i] for i in used if tensors[i].storage is Storage.WEIGHTS]
    parts, at = [], 0
    for tensor in dict.fromkeys(constants):
        parts.append((tensor, at))
        at += _rounded(tensor.bytes + SLACK_BYTES, shaders.alignment_bytes)
    return parts


def _end(parts: _Parts) -> int:
    return max(
        (_rounded(at + t.bytes + SLACK_BYTES, _BINDING_BYTES) for t, at in parts), default=0
    )


def _call(plan: Plan, planned: PlanCall, call: ShaderCall, places: _Places) -> dict[str, Any]:
    launch = planned.launch
    assert launch is not None
    sizes = zip(launch.global_sizes, launch.local_sizes, strict=True)
    bindings = []
    for index, is_written in zip(call.tensors, call.is_written, strict=True):
        tensor = plan.tensors[index]
        bindings.append(
            {
                "buffer": _KINDS[tensor.storage],
                "offset": places.get(tensor, tensor.offset_bytes),
                "bytes": _rounded(tensor.bytes, _BINDING_BYTES),
                "access": "read_write" if is_written else "read",
            }
        )
    return {
        "kernel": call.entry,
        "groups": [whole // items for whole, items in sizes],
        "group_size": list(launch.local_sizes),
        "bindings": bindings,
        "operator": planned.operator,
        "nodes": list(planned.nodes),
    }


def _port(plan: Plan, port: PlanPort, places: _Places) -> dict[str, Any]:
    tensor = plan.tensors[port.tensor]
    return {
        "name": port.name,
        "dtype": port.dtype,
        "shape": list(port.shape),
        "buffer": _KINDS[tensor.storage],
        "offset": places.get(tensor, tensor.offset_bytes),
        "bytes": tensor.bytes,
    }


def _requirements(shaders: ShaderPlan, parts: _Parts) -> dict[str, Any]:
    """What an app asks of the device: WebGPU's names, and the same numbers for Metal."""
    plan, launches = shaders.plan, [call.launch for call in shaders.plan.calls]
    used = {index for call in shaders.calls for index in call.tensors}
    bytes_ = [_rounded(plan.tensors[index].bytes, _BINDING_BYTES) for index in used]
    groups = [
        whole // items
        for launch in launches
        if launch is not None
        for whole, items in zip(launch.global_sizes, launch.local_sizes, strict=True)
    ]
    items = [math.prod(launch.local_sizes) for launch in launches if launch is not None]
    features = ["shader-f16"] if shaders.text.startswith("enable f16;") else []
    return {
        "features": features,
        "limits": {
            "minStorageBufferOffsetAlignment": shaders.alignment_bytes,
            "maxBufferSize": max(plan.arena_bytes, _end(parts)),
            "maxStorageBufferBindingSize": max(bytes_, default=0),
            "maxStorageBuffersPerShaderStage": max(
                (len(call.tensors) for call in shaders.calls), default=0
            ),
            "maxComputeInvocationsPerWorkgroup": max(items, default=0),
            "maxComputeWorkgroupsPerDimension": max(groups, default=0),
        },
    }


def _rounded(size: int, step: int) -> int:
    return -(-size // step) * step
