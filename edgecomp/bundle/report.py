"""report.json and report.md: what runs how, what it costs in bytes, what the steps before found."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgecomp.bundle.manifest import plain
from edgecomp.bundle.plan_files import shader_files
from edgecomp.bundle.rendering import render
from edgecomp.bundle.runtime_files import DEVICES
from edgecomp.plan.plan import Plan, PlanCall, Storage

#: ``PlanCall.schedule`` where no schedule claimed the operation.
FALLBACK = "fallback"


@dataclasses.dataclass(frozen=True)
class CallRow:
    """One kernel call in the report.

    Attributes:
        index: in execution order.
        operator, schedule, nodes, source, multiply_adds: of the call.
        fallback: whether no schedule claimed it.
        weights_bytes: constants it reads.
        device: the back end that makes it.
    """

    index: int
    operator: str
    schedule: str
    fallback: bool
    nodes: tuple[str, ...]
    source: str
    multiply_adds: int
    weights_bytes: int
    device: str


def build_report(
    plan: Plan, sizes: Mapping[str, int], note: str, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that report.json holds.

    Args:
        plan: the plan.
        sizes: kind -> bytes.
        note: why something was not built, or "".
        facts: what the steps before found, as given to ``write_bundle``.
    """
    rows = [_row(plan, i, call) for i, call in enumerate(plan.calls)]
    return {
        "name": plan.name,
        "target": plan.target,
        "calls": [dataclasses.asdict(row) for row in rows],
        "regions": [
            {
                "kind": region.kind.name.lower(),
                "calls": [region.first_call, region.end_call],
                "nodes": list(plan.calls[region.first_call].nodes),
            }
            for region in plan.regions
        ],
        "coverage": coverage(rows),
        "cpu_plan": _cpu_plan(plan.cpu_plan),
        "shaders": _shaders(plan),
        "images": _images(plan),
        "sizes": dict(sizes),
        "memory": {
            "arena_bytes": plan.arena_bytes,
            "arena_bound_bytes": plan.arena_bound_bytes,
            "workspace_bytes": plan.workspace_bytes,
        },
        "note": note,
        "facts": dict(facts),
    }


def coverage(rows: Iterable[CallRow]) -> dict[str, Any]:
    """How many calls and multiply-adds each schedule and each fallback operator takes."""
    rows = list(rows)
    return {
        "calls": len(rows),
        "multiply_adds": sum(row.multiply_adds for row in rows),
        "fallback_calls": sum(row.fallback for row in rows),
        "schedules": _grouped((row.schedule, row) for row in rows if not row.fallback),
        "fallbacks": _grouped((row.operator, row) for row in rows if row.fallback),
        "devices": _grouped((row.device, row) for row in rows),
    }


def report_json(report: Mapping[str, Any]) -> str:
    """Sorted, so that equal facts give equal bytes."""
    return (
        json.dumps(report, indent=2, sort_keys=True, ensure_ascii=False, default=plain) + "\n"
    )


def report_markdown(report: Mapping[str, Any]) -> str:
    """The same for people."""
    memory = report["memory"]
    bound = memory["arena_bound_bytes"]
    ratio = memory["arena_bytes"] / bound if bound else 1.0
    return render("report.md.j2", report=report, arena_ratio=ratio)


def _cpu_plan(plan: Plan | None) -> dict[str, int] | None:
    if plan is None:
        return None
    return {
        "calls": len(plan.calls),
        "arena_bytes": plan.arena_bytes,
        "workspace_bytes": plan.workspace_bytes,
    }


def _images(plan: Plan) -> dict[str, int] | None:
    """What kernels read as images, and the bytes of those that are not made over buffers."""
    readers = [call for call in plan.calls if call.launch and call.launch.images]
    if not readers:
        return None
    found: dict[Storage, set[tuple[int, int]]] = {storage: set() for storage in Storage}
    for call in readers:
        for image in call.launch.images if call.launch else ():
            index = call.arguments[image.argument]
            tensor = plan.tensors[index]
            size = image.elements * np.dtype(tensor.dtype).itemsize
            found[tensor.storage].add((index, size))
    weights, activations = found[Storage.WEIGHTS], found[Storage.ARENA]
    return {
        "calls": len(readers),
        "weights": len(weights),
        "weights_bytes": sum(size for _, size in weights),
        "activations": len(activations),
        "activations_bytes": sum(size for _, size in activations),
    }


def _shaders(plan: Plan) -> dict[str, Any] | None:
    """Of kernels for an app's own GPU code."""
    if plan.shaders is None:
        return None
    own = plan.shaders.plan
    return {
        **shader_files(plan),
        "calls": len(own.calls),
        "kernels": len({call.entry for call in plan.shaders.calls}),
        "arena_bytes": own.arena_bytes,
        "multiply_adds": sum(call.multiply_adds for call in own.calls),
        "schedules": _grouped((c.schedule, _row(own, i, c)) for i, c in enumerate(own.calls)),
    }


def _row(plan: Plan, index: int, call: PlanCall) -> CallRow:
    constants = {i for i in call.arguments if plan.tensors[i].storage is Storage.WEIGHTS}
    return CallRow(
        index=index,
        operator=call.operator,
        schedule=call.schedule,
        fallback=call.schedule == FALLBACK,
        nodes=call.nodes,
        source=call.source,
        multiply_adds=call.multiply_adds,
        weights_bytes=sum(plan.tensors[i].bytes for i in constants),
        device=DEVICES.get(call.device, "cpu"),
    )


def _grouped(rows: Iterable[tuple[str, CallRow]]) -> dict[str, dict[str, int]]:
    groups: dict[str, dict[str, int]] = {}
    for key, row in rows:
        group = groups.setdefault(key, {"calls": 0, "multiply_adds": 0})
        group["calls"] += 1
        group["multiply_adds"] += row.multiply_adds
    return groups
