"""Bundles that are there: open, run, verify and measure them."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgecomp.device.load import load_target
from edgecomp.options import BenchmarkOptions
from edgecomp.plan.values import Array
from edgecomp.progress import Progress, silent

# Everything that is heavy to import is imported where it is used: `edgecomp --help` and
# `edgecomp targets` come through here too.
if TYPE_CHECKING:
    from edgecomp.bench.device import Device
    from edgecomp.bench.result import BenchmarkResult, VerifyResult
    from edgecomp.bundle.reader import Bundle


def open(path: pathlib.Path | str) -> "Bundle":  # noqa: A001 - the word of the field
    """Open a bundle."""
    from edgecomp.bundle.reader import open_bundle

    return open_bundle(pathlib.Path(path))


def run(
    bundle: "Bundle",
    inputs: Mapping[str, Array],
    device: str = "local",
    *,
    num_threads: int = 1,
    plan: str = "auto",
) -> dict[str, Array]:
    """Run a bundle once; on ``local`` in this process.

    Args:
        bundle: what runs.
        inputs: one array per input, by name.
        device: as for ``--device``.
        num_threads: for kernels.
        plan: as for ``--plan``; where ``auto`` takes the CPU plan, a warning is logged.
    """
    plan = bundle.plan_for(plan)
    if device == "local":
        return bundle.run(inputs, threads=num_threads, plan=plan)
    return _device(bundle, device).run(bundle, inputs, threads=num_threads, plan=plan)


def verify(
    bundle: "Bundle", device: str = "local", *, num_threads: int = 1, plan: str = "device"
) -> "VerifyResult":
    """Compare a bundle's results on a device with its golden vectors.

    Args:
        bundle: what is verified.
        device: as for ``--device``.
        num_threads: for kernels.
        plan: as for ``--plan``.

    Raises:
        EdgecompError: NUMERIC_MISMATCH at the first difference.
    """
    from edgecomp.bench.result import VerifyResult
    from edgecomp.bench.verify import verify as compare_golden

    bundle.check()
    checks = compare_golden(
        bundle, _device(bundle, device), threads=num_threads, plan=bundle.plan_for(plan)
    )
    return VerifyResult(bundle.name, device, checks)


def benchmark(
    bundle: "Bundle", options: BenchmarkOptions | None = None, progress: Progress = silent
) -> "BenchmarkResult":
    """Measure a bundle on a device, alone or in turns with other runtimes."""
    from edgecomp.steps.benchmark import measure

    options = options or BenchmarkOptions()
    return measure(bundle, _device(bundle, options.device), options, progress)


def _device(bundle: "Bundle", spec: str) -> "Device":
    from edgecomp.bench.devices import open_device

    # Only an emulator depends on the target; a bundle for a user's own target file must run
    # where that file is not.
    target = load_target(bundle.manifest.target.name) if spec == "qemu" else None
    return open_device(spec, target)
