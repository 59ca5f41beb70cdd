"""What every operator of a model would run as, on every target, before any work."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.errors import EdgecompError
from edgecomp.graph.qdq import value_products
from edgecomp.lower.check_report import (
    FALLBACK,
    IMPOSSIBLE,
    SCHEDULED,
    Check,
    CheckReport,
)
from edgecomp.lower.choose import why_not_on_gpu
from edgecomp.lower.cost import multiply_adds
from edgecomp.lower.lower import Variant, make_dynamic
from edgecomp.lower.operators import cast, movement, padding, resize
from edgecomp.lower.ports import Port, refused_ports
from edgecomp.lower.program import LaidOut, finish_program
from edgecomp.lower.read import Refusal, read_program
from edgecomp.lower.rewrites import rewrite_for
from edgecomp.lower.select import (
    find_gpu_schedule,
    find_schedule,
    undynamic_reason,
    why_refused,
)
from edgecomp.lower.shaders import is_for_app
from edgecomp.plan.movement import FillHalo, Reinterpret, StridedCopy
from edgecomp.plan.operations import Fallback, Operation, Program, counted_symbol
from edgecomp.plan.sizes import Symbol
from edgecomp.schedules.cpu.dynamic.family import find_dynamic_schedule, is_dynamic_operation

#: Operators that are copies, or have some.
_MOVES = frozenset({*movement.TABLE, *padding.TABLE, *resize.TABLE, *cast.TABLE})


@dataclasses.dataclass(frozen=True)
class _Subject:
    """A model on a target, and what is looked up for every operation.

    Attributes:
        types: node -> ONNX operator type.
        reasons: node -> why no schedule's operation expresses it.
        total: multiply-adds of the model.
        bounds: largest size of each dynamic dimension.
        uses_gpu: whether the target has a GPU that takes a part of the model.
        why_not_by_app: where an app's GPU code has to compute the whole model, why it does not
            take any of it or ""; None for other targets.
    """

    target: Target
    types: Mapping[str, str]
    reasons: Mapping[str, str]
    total: int
    bounds: Mapping[str, int]
    uses_gpu: bool
    why_not_by_app: str | None


def check_model(
    model: ir.Model,
    targets: Sequence[Target],
    symbols: Sequence[Symbol] = (),
    variants: Sequence[Variant] = (),
) -> CheckReport:
    """Look at a model whose shapes are static. Compiles nothing, lists everything.

    Args:
        model: at the largest sizes.
        targets: to look at.
        symbols: of dynamic dimensions.
        variants: the model at other sizes.
    """
    ports = list(refused_ports(model.graph))
    sized = (symbols, variants)
    return CheckReport(
        [check for target in targets for check in _check(model, target, ports, *sized)]
    )


def _check(
    model: ir.Model,
    target: Target,
    ports: list[Port],
    symbols: Sequence[Symbol],
    variants: Sequence[Variant],
) -> Iterator[Check]:
    yield from (_refused_port(port, target) for port in ports)
    program, refusals = read_program(model, target, "model")
    impossible = [refusal for refusal in refusals if not refusal.possible]
    yield from (_refused_node(refusal, target) for refusal in impossible)
    if impossible:
        _close_gaps(program)
    made = LaidOut(program, finish_program(program), refusals)
    if variants and not impossible:
        yield from _generalized(model, made, target, symbols, variants)
    why_not = why_not_on_gpu(made, target, symbols)
    subject = _Subject(
        target,
        {
            node.name: node.op_type
            for node in ir.traversal.RecursiveGraphIterator(model.graph)
            if node.name
        },
        {refusal.node: refusal.reason for refusal in refusals},
        sum(map(multiply_adds, program.operations)) or 1,
        {symbol.name: symbol.maximum for symbol in symbols},
        target.gpu is not None and not why_not,
        why_not if is_for_app(target, ()) else None,
    )
    for operation in program.operations:
        # Halos and new views are edgecomp's own way to run what stands beside them.
        if not isinstance(operation.kind, (FillHalo, Reinterpret)):
            yield _look_up(operation, subject)


def _generalized(
    model: ir.Model,
    made: LaidOut,
    target: Target,
    symbols: Sequence[Symbol],
    variants: Sequence[Variant],
) -> Iterator[Check]:
    """Put expressions into the program; yields what cannot have dynamic dimensions."""
    try:
        make_dynamic(made, target, symbols, variants, value_products(model))
    except EdgecompError as error:
        yield Check(
            target=target.name,
            status=IMPOSSIBLE,
            operator="dynamic dimension",
            nodes=(error.node,),
            source=error.source,
            detail=error.cause,
            rewrite=error.hint,
        )


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
    rewrite = ""
    if isinstance(kind, Fallback):
        of_app = subject.why_not_by_app is not None
        status, operator = IMPOSSIBLE if of_app else FALLBACK, kind.operator
        detail = next(
            (subject.reasons[n] for n in operation.nodes if n in subject.reasons), ""
        )
    else:
        status, operator = SCHEDULED, _operator(operation, subject)
        schedule, reason = _claimed(operation, subject)
        detail = schedule or reason
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
        dimension=counted_symbol(operation),
        bound=subject.bounds.get(counted_symbol(operation), 0),
    )


def _claimed(operation: Operation, subject: _Subject) -> tuple[str, str]:
    """Name of the schedule that claims an operation, or "" and why none does."""
    target, found, refusals = subject.target, None, list[str]()
    if subject.uses_gpu:
        found, refusals = find_gpu_schedule(operation, target)
    if found is not None:
        return found.NAME, ""
    if subject.why_not_by_app is not None:
        return "", subject.why_not_by_app or why_refused(refusals)
    if is_dynamic_operation(operation):
        dynamic, refusals = find_dynamic_schedule(operation, target)
        return (dynamic.NAME, "") if dynamic else ("", undynamic_reason(refusals))
    found, refusals = find_schedule(operation, target)
    return (found.NAME, "") if found else ("", why_refused(refusals))


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
