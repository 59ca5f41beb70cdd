"""Plans as JSON, and back: all of them but weights and objects."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

from edgecomp.plan.plan import (
    DynamicCall,
    Extent,
    ImageArgument,
    Launch,
    LaunchKind,
    Plan,
    PlanCall,
    PlanCount,
    PlanPort,
    PlanProgram,
    PlanRegion,
    PlanSymbol,
    PlanTensor,
    RegionKind,
    ShaderCall,
    ShaderPlan,
    Storage,
    StripFlag,
)

#: Fields of a plan that are JSON as they are.
_PLAIN = ("name", "target", "arena_bytes", "arena_bound_bytes")


def packed_plan(plan: Plan) -> dict[str, Any]:
    """Everything of one plan but weights, objects and its CPU plan."""
    return {
        **{name: getattr(plan, name) for name in _PLAIN},
        "tensors": [
            {**dataclasses.asdict(tensor), "storage": tensor.storage.name}
            for tensor in plan.tensors
        ],
        "calls": [_packed_call(call) for call in plan.calls],
        "programs": [_packed_program(program) for program in plan.programs],
        "symbols": [dataclasses.asdict(symbol) for symbol in plan.symbols],
        "counts": [dataclasses.asdict(count) for count in plan.counts],
        "inputs": [dataclasses.asdict(port) for port in plan.inputs],
        "outputs": [dataclasses.asdict(port) for port in plan.outputs],
        "regions": [
            {**dataclasses.asdict(region), "kind": region.kind.name} for region in plan.regions
        ],
    }


def packed_shaders(shaders: ShaderPlan) -> dict[str, Any]:
    """Kernels for an app's own GPU code, and their plan."""
    return {
        "language": shaders.language,
        "text": shaders.text,
        "plan": packed_plan(shaders.plan),
        "calls": [dataclasses.asdict(call) for call in shaders.calls],
        "alignment_bytes": shaders.alignment_bytes,
    }


def unpacked_shaders(content: Mapping[str, Any]) -> ShaderPlan:
    """What ``packed_shaders`` packed."""
    calls = tuple(
        ShaderCall(call["entry"], tuple(call["tensors"]), tuple(call["is_written"]))
        for call in content["calls"]
    )
    return ShaderPlan(**{**content, "plan": unpacked_plan(content["plan"]), "calls": calls})


def unpacked_plan(content: Mapping[str, Any]) -> Plan:
    """What ``packed_plan`` packed; there are no weights and objects yet."""
    return Plan(
        **{name: content[name] for name in _PLAIN},
        tensors=[
            PlanTensor(**{**t, "shape": tuple(t["shape"]), "storage": Storage[t["storage"]]})
            for t in content["tensors"]
        ],
        calls=[_plan_call(c) for c in content["calls"]],
        inputs=[_plan_port(p) for p in content["inputs"]],
        outputs=[_plan_port(p) for p in content["outputs"]],
        symbols=tuple(
            PlanSymbol(**{**s, "derived": s["derived"] and _extent(s["derived"])})
            for s in content["symbols"]
        ),
        counts=tuple(PlanCount(**c) for c in content["counts"]),
        regions=[
            PlanRegion(**{**r, "kind": RegionKind[r["kind"]]}) for r in content["regions"]
        ],
        programs=tuple(_plan_program(p) for p in content["programs"]),
        weights=b"",
        objects={},
    )


def _packed_program(program: PlanProgram) -> dict[str, Any]:
    content = dataclasses.asdict(program)
    content["binary"] = base64.b64encode(program.binary).decode("ascii")
    return content


def _plan_program(content: Mapping[str, Any]) -> PlanProgram:
    binary = base64.b64decode(content["binary"])
    extensions = tuple(content["extensions"])
    return PlanProgram(**{**content, "extensions": extensions, "binary": binary})


def _packed_call(call: PlanCall) -> dict[str, Any]:
    content = dataclasses.asdict(call)
    if call.launch is not None:
        content["launch"]["kind"] = call.launch.kind.name
    return content


def _plan_call(content: Mapping[str, Any]) -> PlanCall:
    sized = content["dynamic"]
    dynamic = sized and DynamicCall(
        tuple(map(_extent, sized["items"])),
        tuple(map(_extent, sized["sizes"])),
        tuple(sized["strides"]),
    )
    lists = {name: tuple(content[name]) for name in ("arguments", "nodes")}
    given = content["launch"]
    launch = given and Launch(
        LaunchKind[given["kind"]],
        tuple(given["global_sizes"]),
        tuple(given["local_sizes"]),
        given["program"],
        tuple(ImageArgument(**image) for image in given["images"]),
    )
    flags = StripFlag(content["strip_flags"])
    return PlanCall(
        **{**content, **lists, "strip_flags": flags, "dynamic": dynamic, "launch": launch}
    )


def _plan_port(content: Mapping[str, Any]) -> PlanPort:
    extents = tuple(map(_extent, content["extents"]))
    return PlanPort(**{**content, "shape": tuple(content["shape"]), "extents": extents})


def _extent(content: Mapping[str, Any]) -> Extent:
    terms = tuple((factor, tuple(symbols)) for factor, symbols in content["terms"])
    return Extent(terms, content["divisor"])
