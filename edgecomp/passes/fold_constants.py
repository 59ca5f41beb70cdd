"""Fold what is known before the model runs.

    Shape(x) -> Gather(.., 1) -> Concat -> Reshape(y, ..)   =>   Reshape(y, [1, 24, -1])

Nodes whose inputs are all constant become initializers, Shape and Size of values with known
extents too, an If with a constant condition becomes the branch it takes, CastLike becomes Cast.
Not folded: random operators, Quantize/DequantizeLinear (a quantized weight stays quantized),
Casts of 16-bit weights that products read, and results above 1 MB that are larger than what they
are made from.
"""

import onnx_ir as ir

from edgecomp.graph.fold import infer_and_fold
from edgecomp.passes.outcome import Numerics, Outcome, finish


class FoldConstantsPass(ir.passes.InPlacePass):
    """Fold constants and shape arithmetic; refresh types and shapes on the way.

    Scope: main graph; branches that are taken become part of it.
    Numerics: float-reassociated (folded arithmetic may round its last bit another way than the
    runtime; shapes and moves are exact).
    """

    numerics = Numerics.REASSOCIATED

    def call(self, model: ir.Model) -> Outcome:
        """Fold; ``modified`` where a node went or a shape became known."""
        result = infer_and_fold(model)
        outcome = finish(
            type(self).__name__, model, result.folded + result.branches + result.expanded
        )
        outcome.modified = outcome.modified or result.inferred > 0
        return outcome
