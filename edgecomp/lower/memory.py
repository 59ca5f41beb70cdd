"""Bytes of a model's activations in a run: the arena of its plan, for which nothing is compiled."""

from collections.abc import Collection

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.assemble import set_aliases
from edgecomp.lower.choose import Asked, choose
from edgecomp.lower.lower import assembled
from edgecomp.lower.plan_weights import NoWeights
from edgecomp.lower.program import laid_out_program
from edgecomp.plan.plan import Plan
from edgecomp.schedules.cost_table import CostTable


def arena_bytes(
    model: ir.Model,
    target: Target,
    *,
    without: Collection[str] = (),
    table: CostTable | None = None,
    accelerators: Collection[str] = (),
) -> int:
    """The arena that ``lower`` gives the same model, in the first of its plans.

    Args:
        model: float or QDQ, static shapes; not changed.
        target: device.
        without: names of schedules that are not used.
        table: measured kernels of the target.
        accelerators: as for ``lower``.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, DIMENSION_FREE, FALLBACK_REFUSED.
    """
    made = laid_out_program(model, target)
    set_aliases(made.program)
    asked = Asked(
        require_full_target=False,
        without=without,
        table=table,
        accelerators=accelerators,
        wide=(),
        cpu_plan=False,
    )
    weights = NoWeights()
    chosen = choose(made, target, asked, weights)
    return assembled(chosen, target, weights, made).arena_bytes


def arena_bytes_of(plan: Plan) -> int:
    """That of a plan's calls, where an app starts them itself of its own."""
    return plan.arena_bytes if plan.shaders is None else plan.shaders.plan.arena_bytes
