"""Attention of quantized values, as one operation for a GPU that has a kernel for it.

    s = IntegerBatchMultiply(q, k), with steps
    m = ReduceMax(s);  e = Exp(s - m);  w = Quantize(e);  t = ReduceSum(e)
    y = IntegerBatchMultiply(w, v), divided by t, and quantized where the model does that
    ->
    y = IntegerAttention(q, k, v)

where nothing else reads s, m, e, w and t: what ``passes/relative_softmax.py`` makes of attention.
"""

import dataclasses
from collections.abc import Collection

from edgecomp.lower.claims import Claims
from edgecomp.lower.copied_views import made_by, turned
from edgecomp.lower.fuse_exponentials import parts_of_exponentials
from edgecomp.lower.uses import Fused, Uses, exchanged
from edgecomp.plan.attention import IntegerAttention
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.products import IntegerBatchMultiply
from edgecomp.plan.values import Quantization

#: Behind the second product: its inputs are the product and the sums of rows.
_DIVISION = (("Div", (0, 1)),)


def fuse_integer_attention(
    program: Program, claims: Claims, left: Collection[Operation] = ()
) -> Program:
    """The program with attentions of integers.

    Args:
        program: with integer products, which read and write through copies; stays as it is.
        claims: of the GPU's kernels.
        left: operations that the processor has.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    for operation in program.operations:
        found = _attention_of(operation, uses)
        if found is None or any(part in left for part in found.parts):
            continue
        if claims(found.operation):
            made[operation] = found.operation
            gone.update(found.parts)
    return exchanged(program, made, gone)


def _attention_of(second: Operation, uses: Uses) -> Fused | None:
    """The attention that ends with a product."""
    kind = second.kind
    if not isinstance(kind, IntegerBatchMultiply) or len(second.inputs) != 3:
        return None
    weights, v, total = second.inputs
    if tuple((step.operator, step.operands) for step in kind.steps) != _DIVISION:
        return None
    quantize = made_by(weights, uses)
    if quantize is None or kind.a != weights.view or weights.quantization is None:
        return None
    exponentials = uses.producers(quantize.inputs[0])
    parts = parts_of_exponentials(exponentials[0], uses) if len(exponentials) == 1 else None
    if parts is None or parts[1] is not quantize or made_by(total, uses) is not parts[2]:
        return None
    greatest, _, summed = parts
    scores = greatest.inputs[0]
    makers = uses.producers(scores)
    readers = {*uses.consumers(scores)}
    if len(makers) != 1 or scores in uses.outputs or readers != {greatest, exponentials[0]}:
        return None
    first, before = makers[0], makers[0].kind
    if not isinstance(before, IntegerBatchMultiply) or before.output != scores.view:
        return None
    batch = kind.output.shape[:-2]
    if scores.shape[:-2] != batch or scores.dtype != "float32":
        return None
    attention = IntegerAttention(
        q=before.a.broadcast_to((*batch, *before.a.shape[-2:])),
        k=turned(before.b.broadcast_to((*batch, *before.b.shape[-2:]))),
        v=kind.b.broadcast_to((*batch, *kind.b.shape[-2:])),
        y=kind.output,
        alpha=before.alpha,
        beta=kind.alpha,
        weights=_as_unsigned(weights.dtype, weights.quantization),
        steps=before.steps,
    )
    every = (first, greatest, exponentials[0], quantize, summed, second)
    nodes = tuple(dict.fromkeys(node for part in every for node in part.nodes))
    inputs = [*first.inputs[:2], v, *first.inputs[2:]]
    operation = Operation(attention, inputs, second.outputs, nodes, first.source)
    return Fused(operation, every)


def _as_unsigned(dtype: str, meaning: Quantization) -> Quantization:
    """The same numbers stored as uint8: signed ones are 128 less."""
    moved = 128 if dtype == "int8" else 0
    return dataclasses.replace(meaning, zero_point=meaning.zero_point + moved)
