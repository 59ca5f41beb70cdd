"""Models with branches and loops: compiled for this machine, and by onnxruntime."""

import unittest.mock

import numpy as np
import onnx
import onnx.parser
import onnxruntime

from edgecomp.device.load import load_target
from edgecomp.frontend.input_spec import InputSpec
from edgecomp.frontend.load import load_model
from edgecomp.graph import control_flow
from edgecomp.lower.lower import lower
from edgecomp.passes.pipeline import float_passes, run_passes
from edgecomp.reference.interpreter import run_reference
from helpers.plans import PlanRunner

HEAD = '<ir_version: 10, opset_import: ["": 21]>\n'


def parse(text):
    """A model from ONNX text of opset 21."""
    return onnx.parser.parse_model(HEAD + text)


class Compiled:
    """A model compiled for this machine, beside its references."""

    def __init__(self, model, *, most_unrolled=0, shapes=None):
        self.proto = parse(model) if isinstance(model, str) else model
        specs = {name: InputSpec(name, shape) for name, shape in (shapes or {}).items()}
        with unittest.mock.patch.object(control_flow, "UNROLLED_NODES", most_unrolled):
            self.model = load_model(self.proto, inputs=specs)
            run_passes(self.model, float_passes())
        lowered = lower(self.model, load_target("host"), name="m", workers=1)
        self.plan, self.fallbacks = lowered.plan, lowered.fallbacks
        self.runner = PlanRunner(self.plan)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(
            self.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    @property
    def operators(self):
        """Types of the nodes of the main graph."""
        return [node.op_type for node in self.model.graph]

    def expected(self, feeds):
        """Results of onnxruntime by name."""
        names = [value.name for value in self.session.get_outputs()]
        return dict(zip(names, self.session.run(None, feeds), strict=True))

    def check(self, rtol=1e-5, atol=1e-5, **feeds):
        """Compiled, interpreted and onnxruntime's results are the same."""
        feeds = {name: np.asarray(array) for name, array in feeds.items()}
        given = {port.name for port in self.plan.inputs}
        expected = self.expected(feeds)
        own = {name: array for name, array in feeds.items() if name in given}
        for found in (self.runner.run(own), run_reference(self.model, own)):
            for name, want in expected.items():
                got = found[name]
                assert (got.dtype, got.shape) == (want.dtype, want.shape), name
                np.testing.assert_allclose(got, want, rtol=rtol, atol=atol, err_msg=name)
