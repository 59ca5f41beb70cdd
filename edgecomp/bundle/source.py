"""The plan as C source: one const descriptor that the runtime reads in place."""

import math

import ml_dtypes  # noqa: F401 - np.dtype then knows bfloat16
import numpy as np

from edgecomp.bundle.dtypes import enumerator
from edgecomp.bundle.rendering import render
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.plan.plan import Extent, Plan, PlanCall, PlanPort, PlanProgram, PlanRegion

#: Limits of edgecomp/model.h.
MAX_RANK = 8
MAX_KERNEL_POINTERS = 12
MAX_REGION_DEPTH = 16

#: Bytes of a binary in one line of C.
_ROW = 64


def required_features(target: Target) -> str:
    """Instruction sets that the runtime looks for before it runs a kernel."""
    return ",".join(sorted(target.core.features))


def model_source(
    plan: Plan,
    target: Target,
    *,
    weights_bytes: int,
    weights_hash: int,
    embedded: bool,
    is_cpu_plan: bool = False,
) -> str:
    """``src/<name>.c``: tables of tensors, calls and ports, and the functions that return them.

    Args:
        plan: what to write; its CPU plan is another file.
        target: gives the features that the kernels need.
        weights_bytes: length of the weights.
        weights_hash: XXH3 of the weights.
        embedded: whether the weights are linked in (``model_weights_source``).
        is_cpu_plan: whether it is the CPU plan of another: ``src/<name>_cpu_plan.c``.
    """
    _check_limits(plan)
    return render(
        "model.c.j2",
        plan=plan,
        kernels=_kernel_signatures(plan),
        tensors=[(t, enumerator(t.dtype, t.name)) for t in plan.tensors],
        calls=plan.calls,
        regions=plan.regions,
        programs=[_program(p) for p in plan.programs],
        inputs=[_port(p) for p in plan.inputs],
        outputs=[_port(p) for p in plan.outputs],
        features=required_features(target),
        weights_bytes=weights_bytes,
        weights_hash=f"0x{weights_hash:016x}",
        embedded=embedded,
        is_cpu_plan=is_cpu_plan,
        extent_tables=_extent_tables(plan),
    )


def _program(program: PlanProgram) -> tuple[PlanProgram, list[str], int]:
    """With the lines of its C literal, and how many bytes they stand for."""
    if not program.binary:
        return program, _lines(program.text), len(program.text.encode())
    rows = [program.binary[i : i + _ROW] for i in range(0, len(program.binary), _ROW)]
    lines = [",".join(map(str, row)) + "," for row in rows]
    return program, lines, len(program.binary)


def _lines(text: str) -> list[str]:
    """Short pieces: a compiler may refuse a long literal."""
    return text.splitlines(keepends=True)


def _extent_tables(plan: Plan) -> list[tuple[str, tuple[Extent, ...]]]:
    """Name of each C table of extents, and what is in it."""
    tables: list[tuple[str, tuple[Extent, ...]]] = []
    for number, symbol in enumerate(plan.symbols):
        if symbol.derived is not None:
            tables.append((f"derived_{number}", (symbol.derived,)))
    for number, call in enumerate(plan.calls):
        if call.dynamic is not None:
            tables.append((f"items_{number}", call.dynamic.items))
            if call.dynamic.sizes:
                tables.append((f"sizes_{number}", call.dynamic.sizes))
    for kind, ports in (("inputs", plan.inputs), ("outputs", plan.outputs)):
        for number, port in enumerate(ports):
            if port.extents:
                tables.append((f"shape_{kind}_{number}", port.extents))
    return tables


def model_header(plan: Plan) -> str:
    """``include/<name>.h``: the function an app calls, and the model's facts as macros."""
    return render(
        "model.h.j2",
        plan=plan,
        prefix=plan.name.upper(),
        inputs=[(p, _port_bytes(p)) for p in plan.inputs],
        outputs=[(p, _port_bytes(p)) for p in plan.outputs],
    )


def weights_source(plan: Plan) -> str:
    """``src/<name>_weights.S``: the weights file as read-only data."""
    return render("weights.S.j2", plan=plan)


def _kernel_signatures(plan: Plan) -> list[str]:
    """Each kernel once, in order of first use."""
    return list(dict.fromkeys(call.kernel for call in plan.calls if call.launch is None))


def _port(port: PlanPort) -> tuple[PlanPort, str]:
    return port, enumerator(port.dtype, port.name)


def _port_bytes(port: PlanPort) -> int:
    return math.prod(port.shape) * np.dtype(port.dtype).itemsize


def _check_limits(plan: Plan) -> None:
    for port in (*plan.inputs, *plan.outputs):
        if len(port.shape) > MAX_RANK:
            raise EdgecompError(
                Code.OPERATOR_UNSUPPORTED,
                f"'{port.name}' has {len(port.shape)} dimensions, the runtime takes {MAX_RANK}",
                node=port.name,
            )
    for call in plan.calls:
        _check_call(call, len(plan.tensors))
    _check_depth(plan.regions)


def _check_depth(regions: list[PlanRegion]) -> None:
    """Regions are in order: those that are open at one time are inside each other."""
    ends: list[int] = []
    for region in regions:
        ends = [end for end in ends if end > region.first_call] + [region.end_call]
        if len(ends) > MAX_REGION_DEPTH:
            raise EdgecompError(
                Code.OPERATOR_UNSUPPORTED,
                f"branches and loops are {len(ends)} deep, the runtime follows "
                f"{MAX_REGION_DEPTH}",
                hint="export the model with fewer If, Loop and Scan inside each other",
            )


def _check_call(call: PlanCall, tensors: int) -> None:
    pointers = len(call.arguments) + bool(call.workspace_bytes)
    if pointers > MAX_KERNEL_POINTERS:
        raise EdgecompError(
            Code.OPERATOR_UNSUPPORTED,
            f"{call.operator} takes {pointers} pointers, the runtime passes at most "
            f"{MAX_KERNEL_POINTERS}",
            node=", ".join(call.nodes),
            source=call.source,
        )
    if any(not 0 <= index < tensors for index in call.arguments):
        raise EdgecompError(
            Code.INTERNAL, f"call of {call.kernel} names a tensor that is not in the plan"
        )
