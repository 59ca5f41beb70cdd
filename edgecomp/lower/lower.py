"""A portable ONNX model to a plan for one target: the steps in order."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.assemble import assemble
from edgecomp.lower.compile import compile_kernels
from edgecomp.lower.fuse import fuse
from edgecomp.lower.layout import assign_layout
from edgecomp.lower.read import Refusal, read_program, require_possible
from edgecomp.lower.select import select
from edgecomp.plan.plan import Plan

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Lowered:
    """What lowering gives.

    Attributes:
        plan: the static plan.
        fallbacks: nodes that no schedule could express, with the reason.
    """

    plan: Plan
    fallbacks: list[Refusal]


def lower(
    model: ir.Model,
    target: Target,
    *,
    name: str,
    require_full_target: bool = False,
    without: Collection[str] = (),
    cache: pathlib.Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Lowered:
    """Lower a model whose shapes are static.

    Args:
        model: float or QDQ; not changed.
        target: device.
        name: of the model; made a C identifier.
        require_full_target: refuse the fallback.
        without: names of schedules that are not used.
        cache: folder of the object cache.
        workers: processes that compile, None for one per processor.
        progress: called with (step, done, in all).

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, FALLBACK_REFUSED, DIMENSION_FREE.
    """
    program, fallbacks = read_program(model, target, name)
    require_possible(fallbacks)
    if require_full_target and fallbacks:
        lines = [f"{f.operator} '{f.node}': {f.reason}" for f in fallbacks]
        raise EdgecompError(
            Code.FALLBACK_REFUSED,
            "\n  ".join([f"{len(fallbacks)} operators need the fallback", *lines]),
            node=fallbacks[0].node,
            source=fallbacks[0].source,
            hint="build without --require-full-target, or rewrite these operators",
        )
    fuse(program)
    assign_layout(program)
    selected = select(program, target, without)

    def compiled(done: int, total: int) -> None:
        if progress:
            progress("compile kernels", done, total)

    kernels = [call.kernel for choice in selected for call in choice.calls]
    objects = compile_kernels(kernels, target, cache=cache, workers=workers, progress=compiled)
    return Lowered(assemble(program, selected, target, objects), fallbacks)
