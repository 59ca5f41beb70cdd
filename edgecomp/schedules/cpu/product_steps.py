"""Elementwise steps behind a product of two values, on vectors of its results."""

import dataclasses
import functools
from collections.abc import Sequence

from edgecomp.device.target import Target
from edgecomp.plan.elementwise import Step
from edgecomp.plan.values import Value, View
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder
from edgecomp.schedules.cpu.batch_operands import Matrix
from edgecomp.schedules.cpu.batch_walk import Place
from edgecomp.schedules.cpu.element_costs import STEP_INSTRUCTIONS
from edgecomp.schedules.cpu.elementwise import MAX_POINTERS, immediate
from edgecomp.schedules.cpu.move import load_strided
from edgecomp.schedules.cpu.operand import Context, Operand
from edgecomp.schedules.cpu.steps import emit_step, refusal
from edgecomp.schedules.cpu.vectors import lanes_of, named

#: Pointers of a kernel beside a, b, the output and the workspace.
_MOST_POINTERS = MAX_POINTERS - 4
#: Vector instructions of all steps. Each vector of a tile has its own copy of them, up to a hundred in
#: all; beside that many, what a pass over the results costs is little.
_MOST_INSTRUCTIONS = 40


@dataclasses.dataclass(frozen=True)
class ProductSteps:
    """What follows a product.

    Attributes:
        steps: operand 0 is the product, then come the inputs.
        inputs: float32, broadcast to the product's shape.
        shape: of the product.
    """

    steps: tuple[Step, ...]
    inputs: Sequence[Value]
    shape: tuple[int, ...]

    @functools.cached_property
    def pointers(self) -> list[Value]:
        """Inputs that need a pointer: constants of one element become part of the code."""
        return [v for v in self.inputs if v.constant is None or v.constant.size > 1]

    @property
    def views(self) -> list[View]:
        """Where those lie."""
        return [value.view.broadcast_to(self.shape) for value in self.pointers]

    def refusal(self) -> str:
        """Why a kernel cannot take them in, "" where it can."""
        if any(value.dtype != "float32" for value in self.inputs):
            return f"steps with {[value.dtype for value in self.inputs]}"
        if len(self.pointers) > _MOST_POINTERS:
            return f"steps with {len(self.inputs)} further inputs"
        if any(view.strides[-1] not in (0, 1) for view in self.views):
            return "further inputs whose columns are not contiguous"
        instructions = sum(STEP_INSTRUCTIONS.get(step.operator, 1) for step in self.steps)
        if instructions > _MOST_INSTRUCTIONS:
            return f"steps of {instructions} instructions"
        dtypes = ["float32"] * (1 + len(self.inputs))
        for step in self.steps:
            reason = refusal(step, [dtypes[k] for k in step.operands])
            if reason or step.dtype != "float32":
                return reason or f"a step with results of dtype {step.dtype}"
            dtypes.append(step.dtype)
        return ""

    def emit(
        self,
        builder: KernelBuilder,
        target: Target,
        product: Expr,
        further: Sequence[tuple[Buffer, Matrix]],
        place: Place,
    ) -> Expr:
        """The last step's results.

        Args:
            builder: receives the statements.
            target: the device.
            product: a vector of it.
            further: of ``pointers``.
            place: of the vector.
        """
        if not self.steps:
            return product
        lanes = lanes_of(product)
        loaded = {}
        for value, (buffer, matrix), first in zip(
            self.pointers, further, place.further, strict=True
        ):
            at = first + place.row * builder.size(matrix.rows) + place.column * matrix.columns
            vector = load_strided(buffer, at, int(matrix.columns), lanes)
            loaded[value] = Operand(named(builder, "x", vector), "float32")
        chain = [Operand(named(builder, "product", product), "float32")]
        chain += [loaded.get(value) or immediate(value, lanes) for value in self.inputs]
        for step in self.steps:
            context = Context(builder, step, lanes, target.core.isa)
            chain.append(emit_step(context, [chain[k] for k in step.operands]))
        return chain[-1].value
