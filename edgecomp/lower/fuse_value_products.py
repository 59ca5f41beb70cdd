"""Products of whole steps in float32 become integer products, where there is a kernel for them.

p, q = Dequantize(a), Dequantize(b)     both with scale 1: as products of quantized values are read
y = p @ q
->
y = IntegerBatchMultiply(a, b)          and what an elementwise chain, then a Quantize make of y,
                                        where nothing else reads it
"""

import dataclasses
from collections.abc import Collection

from edgecomp.lower.claims import Claims
from edgecomp.lower.copied_views import made_by, turned
from edgecomp.lower.fuse_quantize import is_narrow
from edgecomp.lower.steps_behind import steps_behind
from edgecomp.lower.uses import Fused, Uses, drop_unread, exchanged
from edgecomp.plan.elementwise import Elementwise
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.products import BatchMatrixMultiply, IntegerBatchMultiply
from edgecomp.plan.quantization import Dequantize
from edgecomp.plan.values import Value


def fuse_value_products(
    program: Program, claims: Claims, left: Collection[Operation] = ()
) -> Program:
    """The program with integer products.

    Args:
        program: without branches and loops, in its layout; stays as it is.
        claims: of the device's kernels.
        left: operations that another device has.
    """
    uses = Uses(program)
    made: dict[Operation, Operation] = {}
    gone: set[Operation] = set()
    taken = set(left)
    for operation in program.operations:
        if operation in taken:
            continue
        found = _integer_product(operation, uses, taken, claims)
        if found is None or not claims(found.operation):
            continue
        made[found.parts[-1]] = found.operation
        gone.update(found.parts)
        taken.update(found.parts)
    if not made:
        return program
    fused = exchanged(program, made, gone)
    drop_unread(fused, Reinterpret)
    return fused


def _integer_product(
    product: Operation, uses: Uses, taken: Collection[Operation], claims: Claims
) -> Fused | None:
    """The integer product that a product of whole steps is, without what is ``taken`` already."""
    kind = product.kind
    if not isinstance(kind, BatchMatrixMultiply) or kind.transpose_a:
        return None
    readings = [_steps_of(value, uses) for value in product.inputs]
    if any(reading is None or reading in taken for reading in readings):
        return None
    parts = [reading for reading in readings if reading is not None]
    a, b = (_stored(reading.inputs[0], uses) for reading in parts)
    integer = IntegerBatchMultiply(
        alpha=kind.alpha,
        a=a.view,
        b=turned(b.view) if kind.transpose_b else b.view,
        output=product.output.view,
    )
    operation = Operation(integer, [a, b], [product.output], product.nodes, product.source)
    found = Fused(operation, (*dict.fromkeys(parts), product))
    for further in (_with_steps, _with_bytes):
        more = further(found.operation, uses)
        if more is None or more[1] in taken:  # of two that a chain joins, the first has it
            continue
        if claims(more[0]):
            found = Fused(more[0], (*found.parts, more[1]))
    nodes = tuple(dict.fromkeys(node for part in found.parts for node in part.nodes))
    return Fused(dataclasses.replace(found.operation, nodes=nodes), found.parts)


def _with_steps(product: Operation, uses: Uses) -> tuple[Operation, Operation] | None:
    """The product with the elementwise chain that alone reads it, and that chain."""
    output, chain = product.output, uses.only_consumer(product.output)
    if chain is None or not isinstance(chain.kind, Elementwise):
        return None
    result = chain.output
    is_alike = result.shape == output.shape and result.order is output.order
    if not is_alike or result.dtype != "float32":
        return None
    found = steps_behind(chain, output)
    if found is None or any(value.order is not output.order for value in found[1]):
        return None
    assert isinstance(product.kind, IntegerBatchMultiply)
    steps, further = found
    kind = dataclasses.replace(product.kind, steps=steps, output=result.view)
    inputs = [*product.inputs, *further]
    return dataclasses.replace(product, kind=kind, inputs=inputs, outputs=[result]), chain


def _with_bytes(product: Operation, uses: Uses) -> tuple[Operation, Operation] | None:
    """The product with the Quantize that alone reads it, and that one."""
    quantize = uses.only_consumer(product.output)
    if quantize is None or not is_narrow(quantize):
        return None
    assert isinstance(product.kind, IntegerBatchMultiply)
    result = quantize.output
    kind = dataclasses.replace(product.kind, output=result.view)
    return dataclasses.replace(product, kind=kind, outputs=[result]), quantize


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
        # A cube in channels last has the shape of what it is as a transposed one.
        if source.view == steps.view and source.dtype == steps.dtype:
            return source
    return steps
