"""What a bundle is written from."""

import numpy as np
import onnx.reference

from edgecomp.device.load import load_target
from edgecomp.options import BuildOptions
from edgecomp.progress import silent
from edgecomp.steps.prepare import prepare
from edgecomp.steps.record import make_record


def test_a_record_has_the_golden_outputs_and_obeys_the_options(model):
    target = load_target("x86-64-v3")
    evaluator = onnx.reference.ReferenceEvaluator(model)
    used = {}
    for winograd in (True, False):
        prepared = prepare(model, BuildOptions(), silent, target=target)
        options = BuildOptions(winograd=winograd)
        record = make_record(prepared, target, options, "net", silent)
        ((feeds, outputs),) = record.golden
        (expected,) = evaluator.run(None, feeds)
        np.testing.assert_allclose(outputs["y"], expected, rtol=1e-4, atol=1e-4)
        used[winograd] = any("winograd" in name for name in record.plan.objects)
        assert record.plan.name == "net"
        assert record.facts["fallbacks"] == []
    assert used == {True: True, False: False}
