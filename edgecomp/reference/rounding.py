"""What the rounding of float32 operators may do to a model that also computes in integers.

A float operator before a QuantizeLinear (a layer normalisation, a softmax) has no fixed bits: two
right kernels differ in the last places. Where a value lies next to the middle between two steps
the quantized number then differs by one, and all that follows with it: far more than the last
places, however right both are. How much is a property of the model and of the input: it is
measured by computing the model again with what is quantized moved by as much as kernels may differ.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from edgecomp.graph.integer import AnyArray
from edgecomp.graph.integer_operators import IntegerOperator
from edgecomp.reference.interpreter import Reference

#: How far values are moved, in parts of the largest: as far as transcendental functions may be
#: off (docs/numerics.md, "Tolerances").
_MOVED = 4e-6
_QUANTIZING = ("QuantizeLinear", "DynamicQuantizeLinear")
#: Times that the model is computed again.
_REPETITIONS = 4
#: The largest difference found counts as often: few repetitions miss rare steps.
_MARGIN = 2.0


def rounding_spread(
    model: ir.Model, feeds: Mapping[str, AnyArray], expected: Mapping[str, AnyArray]
) -> dict[str, float]:
    """Largest differences that right kernels may show, by output; empty where there are none.

    Args:
        model: quantized.
        feeds: one array per input.
        expected: what the reference gives for them.
    """
    reference = _Moved(model)
    if not reference.moved:
        return {}
    spread = dict.fromkeys(expected, 0.0)
    for seed in range(_REPETITIONS):
        reference.generator = np.random.default_rng(seed)
        for name, array in reference(feeds).items():
            difference = np.abs(array.astype(np.float64) - expected[name].astype(np.float64))
            largest = float(np.nanmax(difference, initial=0.0))
            spread[name] = max(spread[name], _MARGIN * largest)
    return {name: value for name, value in spread.items() if value}


class _Moved(Reference):
    """The reference with float values moved before they are quantized."""

    def __init__(self, model: ir.Model) -> None:
        super().__init__(model)
        self.generator = np.random.default_rng(0)
        #: Results of float operators that are quantized.
        self.moved = {
            value
            for step in self.recognition.steps
            if not isinstance(step, IntegerOperator) and _computes_floats(step)
            for value in step.outputs
            if any(use.node.op_type in _QUANTIZING for use in value.uses())
        }

    def _run(
        self, step: IntegerOperator | ir.Node, arrays: Mapping[ir.Value, AnyArray]
    ) -> dict[ir.Value, AnyArray]:
        results = super()._run(step, arrays)
        for value in self.moved.intersection(results):
            array = results[value]
            finite = np.abs(array[np.isfinite(array)])
            most = _MOVED * float(finite.max(initial=0.0))
            noise = self.generator.uniform(-most, most, array.shape)
            results[value] = (array + noise).astype(array.dtype)
        return results


def _computes_floats(node: ir.Node) -> bool:
    return node.op_type not in (*_QUANTIZING, "DequantizeLinear")
