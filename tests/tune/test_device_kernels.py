"""A GPU's kernels are measured by its own clock, and placement then goes by these times."""

import numpy as np
import pytest
from helpers.opencl import reason_without_device
from helpers.programs import model_of

from edgecomp.bench.local import local_device
from edgecomp.device.load import load_target
from edgecomp.lower.lower import lower
from edgecomp.progress import silent
from edgecomp.schedules.cost_table import CostTable, Header, core_facts
from edgecomp.tune.device_kernels import measure_device_kernels
from edgecomp.tune.layers import collect_layers
from edgecomp.tune.measure import MeasureSettings

TEXT = """<ir_version: 10, opset_import: ["" : 21]>
g (float[1,8,9,9] x) => (float[1,8,9,9] y) {
    a = Conv <pads = [1,1,1,1]> (x, w, b)
    y = Relu(a)
}"""
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w": RNG.standard_normal((8, 8, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(8).astype(np.float32),
}


def test_a_measured_kernel_of_the_gpu(tmp_path):
    if reason_without_device():
        pytest.skip(reason_without_device())
    target, model = load_target("generic-opencl"), model_of(TEXT, **WEIGHTS)
    header = Header(
        target=target.name,
        core=core_facts(target),
        device="this machine",
        threads=1,
        date="2026-01-01",
        versions={},
    )
    table, found = CostTable(header), collect_layers(model, target)
    settings = MeasureSettings(threads=1, rounds=3, flushed_bytes=0, cache=tmp_path)
    arguments = (model, found, table, target, local_device(), settings, silent)
    assert measure_device_kernels(*arguments) == 1
    (layer,) = table.layers
    (entry,) = table.entries(layer)
    assert entry.schedule.startswith("opencl_")
    assert entry.in_model_ns == entry.ns
    assert entry.constant_bytes >= 8 * 8 * 9 * 4
    lowered = lower(
        model, target, name="m", table=table, accelerators=("cpu", "gpu"), cache=tmp_path
    )
    prices = next(p.prices for p in lowered.placement.operations if p.prices.measured)
    assert prices.measured == "gpu"
    assert prices.gpu == pytest.approx((entry.ns + 1e3 * target.gpu.speed.launch_us) * 1e-9)
    # The processor takes its own kernels, and the prices of these.
    alone = lower(model, target, name="m", table=table, accelerators=("cpu",), cache=tmp_path)
    assert {call.device for call in alone.plan.calls} == {0}
    assert alone.kernel_choice["by_measurement"] == 0
    assert alone.plan.cpu_plan is None
