"""ONNX model to a program as the schedules get it: read, fused, every value in its order."""

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.fuse import fuse
from edgecomp.lower.layout import assign_layout
from edgecomp.lower.read import Refusal, read_program, require_possible
from edgecomp.plan.operations import Program


def laid_out_program(
    model: ir.Model, target: Target, name: str = "model"
) -> tuple[Program, list[Refusal]]:
    """Read a model whose shapes are static, fuse its operations and lay out its values.

    Returns:
        The program, and the nodes that the fallback runs.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, DIMENSION_FREE.
    """
    program, refusals = read_program(model, target, name)
    require_possible(refusals)
    finish_program(program)
    return program, refusals


def finish_program(program: Program) -> None:
    """Fuse and lay out what was read."""
    fuse(program)
    assign_layout(program)
