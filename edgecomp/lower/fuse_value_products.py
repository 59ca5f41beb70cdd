"""Products of whole steps in float32 become integer products, on processors that have a kernel.

p, q = Dequantize(a), Dequantize(b)     both with scale 1: as products of quantized values are read
y = p @ q
->
y = IntegerBatchMultiply(a, b)          what Quantize makes of y, where nothing else reads it
"""

import dataclasses

from edgecomp.device.target import Target
from edgecomp.lower.copied_views import made_by, turned
from edgecomp.lower.fuse_quantize import is_narrow
from edgecomp.lower.uses import Uses, drop_unread
from edgecomp.plan.operations import (
    BatchMatrixMultiply,
    Dequantize,
    IntegerBatchMultiply,
    Operation,
    Program,
    Reinterpret,
)
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import integer_batch_multiply


def fuse_value_products(program: Program, target: Target) -> Program:
    """The program with integer products.

    Args:
        program: static, without branches and loops, in its layout; stays as it is.
        target: device.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    for operation in program.operations:
        found = _integer_product(operation, uses)
        if found is None or integer_batch_multiply.match(found.operation, target):
            continue
        made[found.parts[-1]] = found.operation
        gone.update(found.parts)
    if not made:
        return program
    kept = [made.get(o, o) for o in program.operations if o in made or o not in gone]
    fused = dataclasses.replace(program, operations=kept)
    drop_unread(fused, Reinterpret)
    return fused


@dataclasses.dataclass(frozen=True)
class _Found:
    """An integer product, and the operations that it stands for, in order."""

    operation: Operation
    parts: tuple[Operation, ...]


def _integer_product(product: Operation, uses: Uses) -> _Found | None:
    """The integer product that a product of whole steps is."""
    kind = product.kind
    if not isinstance(kind, BatchMatrixMultiply) or kind.transpose_a:
        return None
    readings = [_steps_of(value, uses) for value in product.inputs]
    if any(reading is None for reading in readings):
        return None
    parts = [reading for reading in readings if reading is not None]
    a, b = (_stored(reading.inputs[0], uses) for reading in parts)
    output, quantize = product.output, uses.only_consumer(product.output)
    if quantize is not None and is_narrow(quantize):
        output = quantize.output
    else:
        quantize = None
    integer = IntegerBatchMultiply(
        alpha=kind.alpha,
        a=a.view,
        b=turned(b.view) if kind.transpose_b else b.view,
        output=output.view,
    )
    ordered = (*parts, product, *([quantize] if quantize else []))
    nodes = tuple(dict.fromkeys(node for part in ordered for node in part.nodes))
    operation = Operation(integer, [a, b], [output], nodes, product.source)
    return _Found(operation, tuple(dict.fromkeys(ordered)))


def _steps_of(value: Value, uses: Uses) -> Operation | None:
    """The Dequantize with scale 1 that makes a value for one product alone."""
    maker = made_by(value, uses)
    if maker is None or not isinstance(maker.kind, Dequantize):
        return None
    meaning = maker.inputs[0].quantization
    return maker if meaning is not None and meaning.scale == 1.0 else None


def _stored(steps: Value, uses: Uses) -> Value:
    """The value that ``steps`` is a view of with scale 1; itself where it is none."""
    makers = uses.producers(steps)
    if len(makers) == 1 and isinstance(makers[0].kind, Reinterpret):
        (source,) = makers[0].inputs
        if source.shape == steps.shape and source.dtype == steps.dtype:
            return source
    return steps
