"""ONNX model to a program as the schedules get it: read, fused, every value in its order."""

import dataclasses
from collections.abc import Collection

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.claims import processor_claims
from edgecomp.lower.flatten import Region, flatten
from edgecomp.lower.fuse import fuse
from edgecomp.lower.fuse_deviations import fuse_deviations
from edgecomp.lower.fuse_exponentials import fuse_exponentials
from edgecomp.lower.fuse_product_copies import fuse_product_copies
from edgecomp.lower.fuse_quantize import fuse_quantize
from edgecomp.lower.fuse_value_products import fuse_value_products
from edgecomp.lower.layout import assign_layout
from edgecomp.lower.read import Refusal, read_program, require_possible
from edgecomp.plan.operations import Program


@dataclasses.dataclass(frozen=True)
class LaidOut:
    """A program whose layout is final.

    Attributes:
        program: operations of all bodies in one list.
        regions: which of them are branches and loops.
        fallbacks: nodes that the fallback runs.
    """

    program: Program
    regions: list[Region]
    fallbacks: list[Refusal]


def laid_out_program(
    model: ir.Model,
    target: Target,
    name: str = "model",
    *,
    is_dynamic: bool = False,
    value_products: Collection[str] | None = None,
) -> LaidOut:
    """Read a model, fuse its operations and lay out its values.

    Args:
        model: static shapes.
        target: device.
        name: of the program.
        is_dynamic: whether some of the shapes differ from run to run.
        value_products: names of the products of two values that may be integers, None for all.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, DIMENSION_FREE.
    """
    program, refusals = read_program(
        model, target, name, is_dynamic=is_dynamic, value_products=value_products
    )
    require_possible(refusals)
    return LaidOut(program, finish_program(program), refusals)


def processor_program(made: LaidOut, target: Target) -> Program:
    """The program as the processor computes it: joined is what its kernels alone take together.

    One with branches or loops stays as it is.
    """
    if made.regions:
        return made.program
    claims = processor_claims(target)
    program = fuse_deviations(fuse_exponentials(made.program, target), claims)
    program = fuse_product_copies(fuse_value_products(program, claims), claims)
    return fuse_quantize(program, target)


def finish_program(program: Program) -> list[Region]:
    """Fuse, lay out and flatten what was read."""
    fuse(program)
    assign_layout(program)
    return flatten(program)
