"""Scale and zero point of every value that a quantized model stores.

Values that an operator only moves share them, as do all inputs and the output of a Concat. What
layers of 16 bits read is stored in 16 bits for all; the second operand of a product of two values
has its zero in the middle.
"""

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from edgecomp.calibrate.qspaces import (
    ACTIVATION_INT16,
    ACTIVATION_UINT8,
    ACTIVATION_UINT8_SYMMETRIC,
    QuantizationSpace,
    activation_affine,
)
from edgecomp.calibrate.ranges import Range
from edgecomp.graph.constants import constant_array
from edgecomp.graph.integer import Affine
from edgecomp.graph.match import clip_bounds
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.passes.quantization_scope import Scope


def affines_of(
    scope: Scope, ranges: Mapping[str, Range], options: InsertQdqOptions
) -> dict[ir.Value, Affine]:
    """Scale and zero point of every stored value, the same within groups that share them."""
    parent: dict[ir.Value, ir.Value] = {value: value for value in scope.stored}

    def root(value: ir.Value) -> ir.Value:
        while parent[value] is not value:
            value = parent[value]
        return value

    for block in scope.blocks:
        if block.shares_scale:
            first, *others = [v for v in (*block.input_values, *block.outputs) if v in parent]
            for other in others:
                parent[root(other)] = root(first)
    limits = _activation_limits(scope)
    wide = {root(value) for value in _wide_values(scope, options) if value in parent}
    merged: dict[ir.Value, Range] = {}
    for value in scope.stored:
        headroom = options.headroom if root(value) in wide else 1.0
        found = _range_of(value, ranges, limits, headroom)
        if found is not None:
            known = merged.get(root(value))
            merged[root(value)] = found if known is None else known.union(found)
    symmetric = {root(b.input_values[1]) for b in scope.blocks if b.is_value_product}

    def space(value: ir.Value) -> QuantizationSpace:
        if value in wide:
            return ACTIVATION_INT16
        return ACTIVATION_UINT8_SYMMETRIC if value in symmetric else ACTIVATION_UINT8

    return {
        value: activation_affine(merged[root(value)], space(root(value)))
        for value in scope.stored
    }


def _wide_values(scope: Scope, options: InsertQdqOptions) -> Iterator[ir.Value]:
    """Values that 16-bit layers read, and what they make for no integer layer."""
    read = {value for block in scope.blocks for value in block.input_values}
    for block in scope.blocks:
        if options.is_wide(block.node):
            yield from block.input_values
            yield from (value for value in block.outputs if value not in read)


def _activation_limits(scope: Scope) -> dict[ir.Value, tuple[float, float]]:
    found = {}
    for block in scope.blocks:
        limits = clip_bounds(block.activation or block.node)
        if limits is not None:
            found[block.outputs[0]] = limits
    return found


def _range_of(
    value: ir.Value,
    ranges: Mapping[str, Range],
    limits: Mapping[ir.Value, tuple[float, float]],
    headroom: float,
) -> Range | None:
    array = constant_array(value)
    if array is not None:
        return Range(min(0.0, float(array.min())), max(0.0, float(array.max())))
    found = ranges.get(value.name or "")
    found = None if found is None else found.widened(headroom)
    if found is None or value not in limits:
        return found
    return found.clipped(*limits[value])
