"""Measure a bundle on a device, alone or in turns with other runtimes."""

import pathlib

from edgecomp.bench.compare import PeerSettings, compare_engines
from edgecomp.bench.device import Device
from edgecomp.bench.result import BenchmarkResult
from edgecomp.bench.runner import MeasureOptions
from edgecomp.bundle.reader import Bundle
from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.input_spec import parse_input_specs
from edgecomp.options import BenchmarkOptions
from edgecomp.progress import Progress


def _shapes(options: BenchmarkOptions) -> dict[str, tuple[int, ...]]:
    """Input name -> shape that is measured."""
    shapes = {}
    for name, spec in parse_input_specs(options.shape, "--shape").items():
        if spec.is_bounded:
            raise EdgecompError(
                Code.USAGE, f"--shape {spec.text}: one size is measured at a time"
            )
        if spec.dtype:
            raise EdgecompError(
                Code.USAGE, f"--shape {spec.text}: the bundle has decided the dtype"
            )
        shapes[name] = spec.extents
    return shapes


def measure(
    bundle: Bundle, device: Device, options: BenchmarkOptions, progress: Progress
) -> BenchmarkResult:
    """Measure; compare where ``options.compare`` names other runtimes.

    Raises:
        EdgecompError: DEVICE_FAILED, and what ``bench.compare`` raises.
    """
    settings = MeasureOptions(
        threads=options.num_threads,
        warmup_runs=options.warmup_runs,
        num_runs=options.num_runs,
        max_secs=options.max_secs,
        profile=options.enable_op_profiling,
        shapes=_shapes(options),
        plan=bundle.plan_for(options.plan),
    )
    measurement = device.measure(bundle, settings)
    comparisons = []
    if options.compare:
        peers = PeerSettings(
            pythons=options.by_engine("peer_python"),
            files={n: pathlib.Path(f) for n, f in options.by_engine("peer_model").items()},
        )
        comparisons = compare_engines(
            bundle,
            device,
            options.compare,
            settings,
            max_seconds=options.max_secs,
            settings=peers,
            progress=progress,
        )
    return BenchmarkResult(bundle.name, bundle.manifest.target.name, measurement, comparisons)
