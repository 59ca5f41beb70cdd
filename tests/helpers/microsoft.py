"""Models of one com.microsoft node: compiled for this machine, and by onnxruntime."""

import numpy as np
import onnx
import onnxruntime

from edgecomp.device.load import load_target
from edgecomp.frontend.load import load_model
from edgecomp.graph.qdq import is_quantized
from edgecomp.graph.run import run_model
from edgecomp.lower.lower import lower
from edgecomp.passes.pipeline import float_passes, quantized_passes, run_passes
from helpers.nodes import feeds_of, node_model
from helpers.plans import PlanRunner

DOMAIN = "com.microsoft"


def vendor_model(
    operator, inputs, *, fixed=(), outputs=1, opset=21, domain=DOMAIN, **attributes
):
    """A model of one node of onnxruntime's domain; see ``node_model``."""
    model = node_model(
        operator,
        inputs,
        fixed=fixed,
        outputs=outputs,
        opset=opset,
        domain=domain,
        **attributes,
    )
    model.ir_version = 10
    model.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
    return model


def compiled(model, inputs):
    """Results of the compiled model, and the operators that needed the fallback."""
    loaded = load_model(model)
    assert all(node.domain == "" for node in loaded.graph)
    run_passes(loaded, quantized_passes() if is_quantized(loaded) else float_passes())
    lowered = lower(loaded, load_target("host"), name="m", workers=1)
    results = PlanRunner(lowered.plan).run(feeds_of(model, inputs))
    return list(results.values()), [each.operator for each in lowered.fallbacks]


def by_onnxruntime(model, inputs):
    """Results of onnxruntime, its optimizer switched off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    return session.run(None, feeds_of(model, inputs))


def check_definition(model, inputs, *, relative=2e-5, steps=0):
    """onnxruntime's results of the node and of what it is defined by, without a compiler."""
    loaded = load_model(model)
    assert all(node.domain == "" for node in loaded.graph)
    found = run_model(loaded, feeds_of(model, inputs))
    compare(list(found.values()), by_onnxruntime(model, inputs), relative, steps)


def check_vendor(model, inputs, *, relative=2e-5, steps=0, scheduled=True):
    """Compiled and onnxruntime's results: floats near each other, integers equal or nearly.

    Args:
        model: see ``vendor_model``.
        inputs: name -> array or None.
        relative: allowed difference of floats, of the largest magnitude.
        steps: allowed difference of integers, where onnxruntime rounds a float32 that may lie
            next to the middle between two.
        scheduled: whether a fallback is a failure.
    """
    found, fallbacks = compiled(model, inputs)
    assert not (scheduled and fallbacks), f"fallback for {fallbacks}"
    compare(found, by_onnxruntime(model, inputs), relative, steps)


def compare(found, wanted, relative, steps):
    """Floats within ``relative`` of the largest, integers within ``steps``."""
    for got, want in zip(found, wanted, strict=True):
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        if got.dtype.kind in "iub":
            difference = np.abs(got.astype(np.int64) - want.astype(np.int64))
            assert difference.max(initial=0) <= steps
            assert not steps or (difference != 0).sum() <= max(2, 0.02 * difference.size)
        else:
            largest = np.abs(want).max(initial=1e-6)
            difference = np.abs(got.astype(np.float64) - want).max(initial=0)
            assert difference <= relative * largest, difference / largest
