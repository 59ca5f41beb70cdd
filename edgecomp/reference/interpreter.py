"""Run a model as docs/numerics.md defines it: integer operators exactly, the rest in float32."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.graph.constants import constant_array
from edgecomp.graph.integer import AnyArray
from edgecomp.graph.integer_operators import IntegerOperator
from edgecomp.graph.qdq import Recognition, recognize
from edgecomp.reference.float_node import evaluate, read_inside
from edgecomp.reference.integer import compute


class Reference:
    """A model ready to be interpreted for many feeds.

    Args:
        model: topologically sorted, static shapes; not changed, and not to be changed while
            this object is used.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._recognition = recognize(model.graph)
        self._last_reads = _last_reads(self._recognition)
        self._functions: tuple[onnx.FunctionProto, ...] = tuple(
            ir.serde.serialize_function(function) for function in model.functions.values()
        )

    @property
    def recognition(self) -> Recognition:
        """What is computed in integers."""
        return self._recognition

    def __call__(
        self, feeds: Mapping[str, AnyArray], *, intermediates: bool = False
    ) -> dict[str, AnyArray]:
        """Graph outputs by name.

        Args:
            feeds: one array per graph input.
            intermediates: return the result of every step as well, stored 8-bit numbers of
                integer operators among them.

        Raises:
            EdgecompError: INPUT_MISMATCH.
        """
        arrays = self._bind(feeds)
        results: dict[str, AnyArray] = {}
        for index, step in enumerate(self._recognition.steps):
            defined = self._run(step, arrays)
            arrays.update(defined)
            if intermediates:
                results.update({v.name or "": a for v, a in defined.items()})
            for value in self._last_reads.get(index, ()):
                arrays.pop(value, None)
        for value in self._model.graph.outputs:
            array = arrays.get(value)
            results[value.name or ""] = _constant(value) if array is None else array
        return results

    def _bind(self, feeds: Mapping[str, AnyArray]) -> dict[ir.Value, AnyArray]:
        inputs = {value.name or "": value for value in self._model.graph.inputs}
        for name in feeds:
            if name not in inputs:
                raise EdgecompError(
                    Code.INPUT_MISMATCH,
                    f"the model has no input '{name}'",
                    hint=nearest_hint(name, inputs),
                )
        bound = {}
        for name, value in inputs.items():
            if name not in feeds:
                raise EdgecompError(Code.INPUT_MISMATCH, f"input '{name}' is missing")
            array = np.asarray(feeds[name])
            if value.dtype is not None and array.dtype != value.dtype.numpy():
                raise EdgecompError(
                    Code.INPUT_MISMATCH,
                    f"input '{name}' is {array.dtype}, the model takes {value.dtype.numpy()}",
                )
            bound[value] = array
        return bound

    def _run(
        self, step: IntegerOperator | ir.Node, arrays: Mapping[ir.Value, AnyArray]
    ) -> dict[ir.Value, AnyArray]:
        opsets = self._model.opset_imports
        if isinstance(step, IntegerOperator):
            stored = {
                tensor.value.name or "": arrays[tensor.value]
                for tensor in step.inputs
                if tensor.constant is None
            }
            outputs = compute(step, stored, opsets[""])
            return dict(zip(step.results, outputs, strict=True))
        outputs = evaluate(step, arrays, opsets, self._functions)
        return dict(zip(step.outputs, outputs, strict=True))


def run_reference(
    model: ir.Model, feeds: Mapping[str, AnyArray], *, intermediates: bool = False
) -> dict[str, AnyArray]:
    """Interpret once; see ``Reference``."""
    return Reference(model)(feeds, intermediates=intermediates)


def _constant(value: ir.Value) -> AnyArray:
    array = constant_array(value)
    assert array is not None, f"{value.name} is computed by no node"
    return array


def _reads(step: IntegerOperator | ir.Node) -> list[ir.Value]:
    if isinstance(step, IntegerOperator):
        return [tensor.value for tensor in step.inputs]
    return [value for value in step.inputs if value is not None] + read_inside(step)


def _last_reads(recognition: Recognition) -> dict[int, list[ir.Value]]:
    """Step index -> values that no later step and no graph output reads."""
    last: dict[ir.Value, int] = {}
    for index, step in enumerate(recognition.steps):
        for value in _reads(step):
            last[value] = index
    result: dict[int, list[ir.Value]] = {}
    for value, index in last.items():
        if not value.is_graph_output():
            result.setdefault(index, []).append(value)
    return result
