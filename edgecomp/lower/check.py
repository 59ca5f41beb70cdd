"""What every operator of a model would run as, on every target, before any work."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.check_report import (
    FALLBACK,
    IMPOSSIBLE,
    SCHEDULED,
    Check,
    CheckReport,
)
from edgecomp.lower.cost import multiply_adds
from edgecomp.lower.operators import cast, movement, padding, resize
from edgecomp.lower.ports import Port, refused_ports
from edgecomp.lower.program import finish_program
from edgecomp.lower.read import Refusal, read_program
from edgecomp.lower.rewrites import rewrite_for
from edgecomp.lower.select import find_schedule, telling
from edgecomp.plan.operations import (
    Fallback,
    FillHalo,
    Operation,
    Program,
    Reinterpret,
    StridedCopy,
)

#: Operators that are copies, or have some.
_MOVES = frozenset({*movement.TABLE, *padding.TABLE, *resize.TABLE, *cast.TABLE})


@dataclasses.dataclass(frozen=True)
class _Subject:
    """A model on a target, and what is looked up for every operation.

    Attributes:
        types: node -> ONNX operator type.
        reasons: node -> why no schedule's operation expresses it.
        total: multiply-adds of the model.
    """

    target: Target
    types: Mapping[str, str]
    reasons: Mapping[str, str]
    total: int


def check_model(model: ir.Model, targets: Sequence[Target]) -> CheckReport:
    """Look at a model whose shapes are static. Compiles nothing, lists everything."""
    ports = list(refused_ports(model.graph))
    return CheckReport([check for target in targets for check in _check(model, target, ports)])


def _check(model: ir.Model, target: Target, ports: list[Port]) -> Iterator[Check]:
    yield from (_refused_port(port, target) for port in ports)
    program, refusals = read_program(model, target, "model")
    impossible = [refusal for refusal in refusals if not refusal.possible]
    yield from (_refused_node(refusal, target) for refusal in impossible)
    if impossible:
        _close_gaps(program)
    finish_program(program)
    subject = _Subject(
        target,
        {
            node.name: node.op_type
            for node in ir.traversal.RecursiveGraphIterator(model.graph)
            if node.name
        },
        {refusal.node: refusal.reason for refusal in refusals},
        sum(map(multiply_adds, program.operations)) or 1,
    )
    for operation in program.operations:
        # Halos and new views are edgecomp's own way to run what stands beside them.
        if not isinstance(operation.kind, (FillHalo, Reinterpret)):
            yield _look_up(operation, subject)


def _close_gaps(program: Program) -> None:
    """Let results of missing nodes be inputs, so that the rest is a program of its own."""
    made = {id(output) for operation in program.operations for output in operation.outputs}
    known = made | {id(value) for value in program.inputs}
    for operation in program.operations:
        for value in operation.inputs:
            if value.constant is None and id(value) not in known:
                known.add(id(value))
                program.inputs.append(value)
    kept = [
        (value, name)
        for value, name in zip(program.outputs, program.output_names, strict=True)
        if id(value) in known
    ]
    program.outputs = [value for value, _ in kept]
    program.output_names = [name for _, name in kept]


def _refused_port(port: Port, target: Target) -> Check:
    return Check(
        target=target.name,
        status=IMPOSSIBLE,
        operator=port.kind,
        nodes=(port.name,),
        source="",
        detail=port.problem,
        rewrite=rewrite_for(port.kind, port.problem),
    )


def _refused_node(refusal: Refusal, target: Target) -> Check:
    return Check(
        target=target.name,
        status=IMPOSSIBLE,
        operator=refusal.operator,
        nodes=(refusal.node,),
        source=refusal.source,
        detail=refusal.reason,
        rewrite=rewrite_for(refusal.operator, refusal.reason),
    )


def _look_up(operation: Operation, subject: _Subject) -> Check:
    kind, work = operation.kind, multiply_adds(operation)
    schedule, detail, rewrite = None, "", ""
    if isinstance(kind, Fallback):
        status, operator = FALLBACK, kind.operator
        detail = next(
            (subject.reasons[n] for n in operation.nodes if n in subject.reasons), ""
        )
    else:
        status, operator = SCHEDULED, _operator(operation, subject)
        schedule, refusals = find_schedule(operation, subject.target)
        detail = schedule.NAME if schedule else "; ".join(telling(refusals))
        status = SCHEDULED if schedule else IMPOSSIBLE
    if status != SCHEDULED:
        rewrite = rewrite_for(operator, detail)
    return Check(
        target=subject.target.name,
        status=status,
        operator=operator,
        nodes=operation.nodes,
        source=operation.source,
        detail=detail,
        rewrite=rewrite,
        multiply_adds=work,
        share=work / subject.total,
    )


def _operator(operation: Operation, subject: _Subject) -> str:
    """ONNX types of what was fused: ``Conv+Clip``.

    Quantize and Dequantize nodes are how an operator is meant, not operators beside it.
    """
    if isinstance(operation.kind, StridedCopy) and _is_layout_change(operation, subject):
        return "layout change"
    types = [subject.types[node] for node in operation.nodes if node in subject.types]
    own = [name for name in types if name not in ("QuantizeLinear", "DequantizeLinear")]
    return "+".join(own or types) or type(operation.kind).__name__


def _is_layout_change(operation: Operation, subject: _Subject) -> bool:
    """Whether a copy only brings a tensor into another order for the node it names."""
    return not any(
        subject.types.get(node) in _MOVES and node not in subject.reasons
        for node in operation.nodes
    )
