"""Models of one node: compiled for this machine, and by onnx's reference evaluator."""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgecomp.device.load import load_target
from edgecomp.frontend.input_spec import InputSpec
from edgecomp.frontend.load import load_model
from edgecomp.lower.lower import lower
from edgecomp.passes.pipeline import float_passes, run_passes
from helpers.plans import PlanRunner


def node_model(operator, inputs, *, fixed=(), outputs=1, opset=24, **attributes):
    """A model of one node.

    Args:
        operator: type.
        inputs: name -> array, or None where the input is absent.
        fixed: names of inputs that are initializers.
        outputs: number of outputs, or their names ("" where one is absent).
        opset: version.
        attributes: of the node.
    """
    names = [name if array is not None else "" for name, array in inputs.items()]
    if isinstance(outputs, int):
        outputs = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(operator, names, outputs, name="node", **attributes)
    given = {name: np.asarray(array) for name, array in inputs.items() if array is not None}
    infos = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in given.items()
        if name not in fixed
    ]
    constants = [numpy_helper.from_array(given[name], name) for name in fixed if name in given]
    results = [onnx.ValueInfoProto(name=name) for name in outputs if name]
    graph = helper.make_graph([node], "g", infos, results, constants)
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=11)


def compiled(model, inputs):
    """Results of the compiled model, and the operators that needed the fallback."""
    shapes = {name: InputSpec(name, a.shape) for name, a in feeds_of(model, inputs).items()}
    loaded = load_model(model, inputs=shapes)
    run_passes(loaded, float_passes())
    lowered = lower(loaded, load_target("host"), name="m", workers=1)
    results = PlanRunner(lowered.plan).run(feeds_of(model, inputs))
    return list(results.values()), [each.operator for each in lowered.fallbacks]


def reference(model, inputs):
    """Results of onnx's reference evaluator."""
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(model).run(None, feeds_of(model, inputs))


def feeds_of(model, inputs):
    wanted = {value.name for value in model.graph.input}
    return {name: np.asarray(array) for name, array in inputs.items() if name in wanted}


def check(model, inputs, *, rtol=1e-5, atol=1e-6, scheduled=True):
    """Compiled and reference results are near each other, in shape and dtype too."""
    found, fallbacks = compiled(model, inputs)
    assert not (scheduled and fallbacks), f"fallback for {fallbacks}"
    for got, want in zip(found, reference(model, inputs), strict=True):
        want = np.asarray(want)
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        if got.dtype.kind not in "fiub":
            got, want = got.astype(np.float32), want.astype(np.float32)
        np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, equal_nan=True)
