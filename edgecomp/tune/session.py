"""Tune a model: measure each of its layers that the table does not know yet."""

import dataclasses
import datetime as dt
import importlib.metadata
import pathlib
import time
from collections.abc import Sequence

import onnx_ir as ir

import edgecomp
from edgecomp.bench.device import Device
from edgecomp.device.host import why_not_native
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.select import gpu_schedule_names
from edgecomp.plan.plan import DEVICES
from edgecomp.progress import Progress
from edgecomp.schedules.candidates import Candidate
from edgecomp.schedules.cost_table import (
    CostTable,
    Header,
    core_facts,
    read_table_for,
    write_table,
)
from edgecomp.tune.device_kernels import measure_device_kernels
from edgecomp.tune.finals import need_finals, run_finals
from edgecomp.tune.layers import Layer, collect_layers
from edgecomp.tune.measure import MeasureSettings, measure_layer
from edgecomp.tune.program import flush_bytes
from edgecomp.tune.result import LayerResult, TuneResult


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """What ``tune_model`` is asked.

    Attributes:
        output: table to extend.
        threads, trials: as ``TuneOptions``.
        max_secs: no layer is begun after this many seconds; 0 for no limit.
        cache: folder of compiled kernels.
    """

    output: pathlib.Path
    threads: int
    trials: int
    max_secs: float
    cache: pathlib.Path | None = None


def tune_model(
    model: ir.Model,
    target: Target,
    device: Device,
    settings: TuneSettings,
    progress: Progress,
) -> TuneResult:
    """Measure the layers of a portable model; the table is written after each.

    Raises:
        EdgecompError: USAGE for a device whose times mean nothing or a model without choices,
            COST_TABLE_INVALID for another target's table, and what devices raise.
    """
    require_measurable(target, device)
    table = _open_table(settings, target, device)
    found = collect_layers(model, target)
    if not found.layers:
        raise EdgecompError(
            Code.USAGE,
            "no layer of the model has kernels to choose from",
            hint="convolutions and matrix products have; such a model needs no tuning",
        )
    missing = [layer for layer in found.layers if not layer.known(table)]
    how = MeasureSettings(
        threads=settings.threads,
        rounds=settings.trials,
        flushed_bytes=flush_bytes(found.passing_bytes),
        cache=settings.cache,
    )
    measured = _measure(missing, table, target, device, settings, how, progress)
    if measured == len(missing) and need_finals(found, table):
        run_finals(model, found, table, target, device, how, progress)
        write_table(settings.output, table)
    if measured == len(missing) and target.gpu is not None and target.gpu.api in DEVICES:
        measure_device_kernels(model, found, table, target, device, how, progress)
        write_table(settings.output, table)
    return TuneResult(
        output=settings.output,
        device=table.header.device,
        threads=settings.threads,
        measured=measured,
        known=len(found.layers) - len(missing),
        left=len(missing) - measured,
        layers=[
            *(r for layer in found.layers if (r := _result(layer, table, target))),
            *(r for layer in found.layers if (r := _device_result(layer, table, target))),
        ],
    )


def require_measurable(target: Target, device: Device) -> None:
    """Refuse a device whose times say nothing of the target."""
    if device.emulated:
        raise EdgecompError(
            Code.USAGE,
            f"--device {device}: times on an emulator say nothing of the device",
            hint="--device ssh:USER@HOST measures on the device itself",
        )
    reason = why_not_native(target) if device.spec == "local" else ""
    if reason:
        raise EdgecompError(
            Code.USAGE,
            f"this machine cannot measure target '{target.name}': {reason}",
            hint="--device ssh:USER@HOST measures on the device itself",
        )
    if device.spec != "local" and target.name == "host":
        raise EdgecompError(
            Code.USAGE,
            f"target 'host' is this machine, not {device}",
            hint="name the other machine's target with --target",
        )


def _measure(
    missing: Sequence[Layer],
    table: CostTable,
    target: Target,
    device: Device,
    settings: TuneSettings,
    how: MeasureSettings,
    progress: Progress,
) -> int:
    """Measure layers until the time is over; return how many."""
    begun = time.monotonic()
    for index, layer in enumerate(missing):
        progress("measure layers", index, len(missing))
        if settings.max_secs and time.monotonic() - begun >= settings.max_secs:
            return index
        for entry in measure_layer(layer, target, device, how):
            table.add(entry)
        write_table(settings.output, table)
        progress("measure layers", index + 1, len(missing))
    return len(missing)


def _open_table(settings: TuneSettings, target: Target, device: Device) -> CostTable:
    """The table to extend, or a new one."""
    versions = {
        "edgecomp": edgecomp.__version__,
        "apache-tvm": importlib.metadata.version("apache-tvm"),
    }
    words = device.describe()
    today = dt.datetime.now(dt.UTC).date().isoformat()
    header = Header(
        target=target.name,
        core=core_facts(target),
        device=words,
        threads=settings.threads,
        date=today,
        versions=versions,
    )
    if not settings.output.exists():
        return CostTable(header)
    table = read_table_for(settings.output, target)
    for name, value in (("device", words), ("threads", settings.threads)):
        before = getattr(table.header, name)
        if before != value:
            raise EdgecompError(
                Code.COST_TABLE_INVALID,
                f"the table was measured with {name} = {before}, now it is {value}",
                path=str(settings.output),
                hint="give another file with --output",
            )
    entries = [entry for layer in table.layers for entry in table.entries(layer)]
    return CostTable(header, entries)


def _device_result(layer: Layer, table: CostTable, target: Target) -> LayerResult | None:
    """What the table says of the GPU's kernel of a layer, None where nothing."""
    best = table.fastest_of(layer.operation, target, gpu_schedule_names())
    if best is None:
        return None
    return LayerResult(
        layer.signature, layer.count, None, best.time_ns, best.schedule, best.params
    )


def _result(layer: Layer, table: CostTable, target: Target) -> LayerResult | None:
    """What the table says of a layer, None where nothing."""
    best = table.fastest(layer.operation, target, gpu_schedule_names())
    if best is None:
        return None
    own = next(
        (
            entry.time_ns
            for entry in table.entries(layer.signature)
            if Candidate(entry.schedule, entry.params) == layer.candidates[0]
        ),
        None,
    )
    return LayerResult(
        layer.signature,
        layer.count,
        own,
        best.time_ns,
        best.schedule,
        best.params,
    )
