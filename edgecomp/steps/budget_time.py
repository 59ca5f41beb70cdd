"""How long a candidate takes on this machine: built into a bundle in a scratch folder, and run."""

import pathlib
from collections.abc import Mapping

import onnx_ir as ir

from edgecomp.bench.local import local_device
from edgecomp.bench.runner import MeasureOptions
from edgecomp.bundle.write import write_bundle
from edgecomp.device.target import Target
from edgecomp.held import scratch_folder
from edgecomp.options import BudgetOptions, BuildOptions
from edgecomp.plan.values import Array
from edgecomp.progress import silent
from edgecomp.steps.prepare import Prepared
from edgecomp.steps.record import make_record

#: Runs that are measured, and for how long at most.
_RUNS, _MOST_SECONDS = 50, 5.0


def measured_seconds(
    model: ir.Model, target: Target, options: BudgetOptions, sample: Mapping[str, Array]
) -> float:
    """Median of the processor time of a run on one thread.

    Args:
        model: float or quantized; not changed.
        target: this machine.
        options: of the build, where they are.
        sample: inputs.

    Raises:
        EdgecompError: what building raises; DEVICE_FAILED.
    """
    given = options if isinstance(options, BuildOptions) else BuildOptions(target=target.name)
    prepared = Prepared(model.clone(), [dict(sample)], {"precision": options.precision})
    record = make_record(prepared, target, given, "candidate", silent)
    with scratch_folder() as scratch:
        bundle = write_bundle(
            record.plan,
            target,
            pathlib.Path(scratch) / "bundle",
            model_bytes=record.model_bytes,
            model_data=record.model_data,
            golden=record.golden,
            facts=record.facts,
            cache=given.cache_dir,
        )
        settings = MeasureOptions(num_runs=_RUNS, max_secs=_MOST_SECONDS)
        return local_device().measure(bundle, settings).cpu.p50_ns * 1e-9
