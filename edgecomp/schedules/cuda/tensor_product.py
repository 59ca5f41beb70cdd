"""Convolutions and products on tensor cores, of 8-bit integers and of floats.

Floats of 16 bits where values are stored so, and, where the build allows tf32, float32.
"""

from collections.abc import Collection

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.schedules.cpu.product import Product, collapse_depth
from edgecomp.schedules.cuda.tensor_kernel import emit_tensor_product
from edgecomp.schedules.cuda.tensor_tile import (
    INSTRUCTIONS,
    Instruction,
    instruction_for,
    words_at_once,
)
from edgecomp.schedules.gpu.halves import HALVES
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.products import emit_by, product_of, refusal
from edgecomp.schedules.schedule import KernelCall

NAME = "tensor_product"

#: Fewer elements of K in a run, or columns, leave most of an instruction unused.
_LEAST_RUN = 8
_LEAST_COLUMNS = 8


def match(operation: Operation, target: Target) -> str:
    """Claim what the GPU's schedules of the same kinds claim, where x lies in whole words."""
    reason = refusal(operation, target)
    if reason:
        return reason
    x, weight = operation.inputs[0].stored, operation.inputs[1].dtype
    wanted = {"int8"} if "int" in x else {x}
    if x == "float32":
        wanted |= HALVES  # tf32 holds them
    reason = refuse_type(x, weight, wanted, target)
    if reason:
        return reason
    instruction = instruction_for(x, gpu_of(target))
    assert instruction is not None
    return _refuse_shape(product_of(operation), instruction) or _refuse_weight(operation)


def refuse_type(x: str, other: str, wanted: Collection[str], target: Target) -> str:
    """Why no instruction multiplies elements of these types, "" where one does.

    Args:
        x: in memory, of the first operand.
        other: of the second one.
        wanted: what that may be.
        target: the device.
    """
    every = INSTRUCTIONS.get(x, ())
    if not every or other not in wanted:
        return f"a product of {x} and {other}"
    if x == "float32" and not target.tf32:
        return "float32, and tf32 is not allowed"
    if instruction_for(x, gpu_of(target)) is None:
        return f"the device has no {' or '.join(one.feature for one in every)}"
    return ""


def _refuse_shape(product: Product, instruction: Instruction) -> str:
    """Rows of x begin at words, and a tile has enough to do."""
    run = collapse_depth(product.depth)[-1].size
    if not words_at_once(product, instruction.word):
        return "rows that do not begin at words"
    if instruction.sums == "float32" and run % instruction.word:
        return "rows that do not end with a word"
    if run < _LEAST_RUN or product.columns < _LEAST_COLUMNS:
        return f"only {run} elements of K and {product.columns} columns"
    return ""


def _refuse_weight(operation: Operation) -> str:
    """What is behind the end of K, and padding, is multiplied by zero: weights are finite."""
    weight = operation.inputs[1].constant
    assert weight is not None
    is_float = "int" not in weight.dtype.name
    return "weights that are not finite" if is_float and not np.isfinite(weight).all() else ""


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel."""
    return emit_by(emit_tensor_product, operation, target)
