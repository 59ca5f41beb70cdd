"""Elementwise steps between the scores of an attention and its softmax, one score at a time."""

import dataclasses
from collections.abc import Mapping, Sequence

from edgecomp.plan.elementwise import Step
from edgecomp.plan.sizes import Dimension
from edgecomp.plan.values import Value, View
from edgecomp.schedules.builder import Buffer, Expr
from edgecomp.schedules.cpu.elementwise import immediate
from edgecomp.schedules.cpu.operand import Operand
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.elementwise import emit_steps, operand_of
from edgecomp.schedules.gpu.vectors import load_vector


@dataclasses.dataclass(frozen=True)
class ScoreSteps:
    """What kernels of attention do to a score.

    Attributes:
        builder: of the kernel.
        steps: operand 0 is the score, then come the inputs.
        inputs: broadcast to the scores' shape.
        buffers: of those that have one; the others become part of the code.
        shape: of the scores.
    """

    builder: GridBuilder
    steps: tuple[Step, ...]
    inputs: Sequence[Value]
    buffers: Mapping[Value, Buffer]
    shape: tuple[Dimension, ...]

    def starts(self, indices: Sequence[Expr]) -> dict[Value, Expr]:
        """Where the batch's elements begin in the inputs' buffers."""
        return {
            value: start_of(self.builder, "extra", self._view(value), indices)
            for value in self.buffers
        }

    def emit(self, score: Expr, starts: Mapping[Value, Expr], row: Expr, key: Expr) -> Expr:
        """The last step's result.

        Args:
            score: float32.
            starts: of ``starts``.
            row: of the score.
            key: of the score.
        """
        builder = self.builder
        if not self.steps:
            return score
        chain = [Operand(builder.let("score", score, "float32"), "float32")]
        for value in self.inputs:
            if value not in self.buffers:
                chain.append(immediate(value, 1))
                continue
            strides = self._view(value).strides[-2:]
            by_row, by_key = (builder.size(stride) for stride in strides)
            at = starts[value] + row * by_row + key * by_key
            loaded = load_vector(self.buffers[value], at, 1)
            chain.append(operand_of(builder, value, loaded, 1))
        return emit_steps(builder, self.steps, chain, 1).value

    def _view(self, value: Value) -> View:
        return value.view.broadcast_to(self.shape)


def start_of(builder: GridBuilder, name: str, view: View, indices: Sequence[Expr]) -> Expr:
    """Place of a batch's element at row 0, column 0."""
    at: Expr = builder.size(view.offset)
    for index, stride in zip(indices, view.strides[:-2], strict=True):
        at = at + index * builder.size(stride)
    return builder.let(name, at)
