"""The steps joined: what ``import edgecomp`` and the command line offer."""

import contextlib
import dataclasses
import logging
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from edgecomp.device.load import load_target
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BenchmarkOptions, BuildOptions, QuantizeOptions, TuneOptions
from edgecomp.plan.values import Array
from edgecomp.progress import Progress, silent

# Everything that is heavy to import is imported where it is used: `edgecomp --help` and
# `edgecomp targets` come through here too.
if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecomp.bench.device import Device
    from edgecomp.bench.result import BenchmarkResult, VerifyResult
    from edgecomp.bundle.reader import Bundle
    from edgecomp.bundle.record import Record
    from edgecomp.bundle.toolchain import ToolchainUse
    from edgecomp.lower.check import CheckReport
    from edgecomp.passes.fold_low_rank import FoldLowRankPass
    from edgecomp.tune.session import TuneResult

logger = logging.getLogger(__name__)

#: Samples whose outputs are kept in the bundle for ``verify``.
GOLDEN_SAMPLES = 2
#: Name of the schedule that ``BuildOptions.winograd`` allows; importing it would import TVM.
WINOGRAD_SCHEDULE = "winograd_f32_nhwc"


@dataclasses.dataclass
class _Prepared:
    """A portable model and what was found on the way to it.

    Attributes:
        model: float or QDQ, static shapes.
        samples: some inputs it was calibrated on, for golden vectors.
        facts: for the manifest and the report.
    """

    model: "ir.Model"
    samples: list[dict[str, Array]]
    facts: dict[str, Any]


def build(
    model: Any,
    options: BuildOptions | None = None,
    progress: Progress = silent,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    calibration_dataset: Any = None,
) -> "Bundle":
    """Compile a model into a bundle: the whole way.

    Args:
        model: torch module, ExportedProgram, onnx or onnx_ir model, or path (see
            ``frontend.load.load_model``).
        options: what to build, and where to write it (``options.output``).
        progress: told about every step.
        args: example inputs of a torch module.
        kwargs: keyword example inputs of a torch module.
        calibration_dataset: samples, where ``options.calibration_data`` is not given.

    Raises:
        EdgecompError: anything that is wrong with the input; nothing is left half-written.
    """
    from edgecomp.bundle.directory import check_free
    from edgecomp.bundle.record import find_record, keep_record, record_key
    from edgecomp.bundle.write import write_bundle

    options = options or BuildOptions()
    if options.output is None:
        raise EdgecompError(Code.USAGE, "no output folder is given", hint="set output")
    check_free(options.output, force=options.force)
    target = load_target(options.target)
    given = (args, kwargs, calibration_dataset)
    key = record_key(model, options, target) if given == (None, None, None) else ""
    record = find_record(key, options.cache_dir)
    if record is None:
        with _about(model):
            prepared = _prepare(
                model, options, progress, args, kwargs, calibration_dataset, target
            )
            record = _lower(
                prepared, target, options, options.name or _name_of(model), progress
            )
        keep_record(key, record, options.cache_dir)
    progress("link and write the bundle")
    return write_bundle(
        record.plan,
        target,
        options.output,
        model_bytes=record.model_bytes,
        golden=record.golden,
        facts=record.facts,
        toolchain=cast("ToolchainUse", options.toolchain),
        embed_weights=options.embed_weights,
        force=options.force,
        cache=options.cache_dir,
        progress=progress,
    )


def compile(  # noqa: A001 - the word of the field
    model: Any,
    target: str = "host",
    *,
    output: pathlib.Path | str,
    progress: Progress = silent,
    **settings: Any,
) -> "Bundle":
    """Compile a model that is already as it should be (float or QDQ).

    Args:
        model: as for ``build``.
        target: name of a target or path of a target file.
        output: folder of the bundle.
        progress: told about every step.
        settings: further fields of ``BuildOptions``.
    """
    options = BuildOptions(target=target, output=pathlib.Path(output), **settings)
    return build(model, options, progress)


def export(
    model: Any,
    args: Sequence[Any] | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    output: pathlib.Path | str | None = None,
) -> "ir.Model":
    """Trace a torch module to a checked ONNX model, compared with eager torch.

    Args:
        model: torch module, or any source ``build`` takes.
        args: example inputs.
        kwargs: keyword example inputs.
        dynamic_shapes: as ``torch.export`` takes them.
        input_names: names of the graph inputs, in order.
        opset_version: 21 where None.
        output: file to write the model to.
    """
    from edgecomp.frontend.load import load_model

    result = load_model(
        model, args=args, kwargs=kwargs, dynamic_shapes=dynamic_shapes, opset=opset_version
    )
    for value, name in zip(result.graph.inputs, input_names or (), strict=False):
        value.name = name
    if output is not None:
        save(result, pathlib.Path(output))
    return result


def quantize(
    model: Any,
    calibration_dataset: Any = None,
    *,
    options: QuantizeOptions | None = None,
    progress: Progress = silent,
    args: Sequence[Any] | None = None,
) -> "ir.Model":
    """Make the portable quantized model (QDQ ONNX).

    Args:
        model: as for ``build``.
        calibration_dataset: path, iterable or reader (see ``calibrate.readers``).
        options: how; written to ``options.output`` where that is given.
        progress: told about every step.
        args: example inputs of a torch module.
    """
    options = options or QuantizeOptions(precision="w8a8")
    if options.output is not None:
        _require_free(options.output, model, force=options.force)
    with _about(model):
        prepared = _prepare(model, options, progress, args, None, calibration_dataset, None)
    if options.output is not None:
        save(prepared.model, options.output)
    return prepared.model


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
) -> dict[str, Array]:
    """Run a bundle once; on ``local`` in this process."""
    if device == "local":
        return bundle.run(inputs, threads=num_threads)
    return _device(bundle, device).run(bundle, inputs, threads=num_threads)


def verify(bundle: "Bundle", device: str = "local", *, num_threads: int = 1) -> "VerifyResult":
    """Compare a bundle's results on a device with its golden vectors.

    Raises:
        EdgecompError: NUMERIC_MISMATCH at the first difference.
    """
    from edgecomp.bench.result import VerifyResult
    from edgecomp.bench.verify import verify as compare_golden

    bundle.check()
    checks = compare_golden(bundle, _device(bundle, device), threads=num_threads)
    return VerifyResult(bundle.name, device, checks)


def benchmark(
    bundle: "Bundle", options: BenchmarkOptions | None = None, progress: Progress = silent
) -> "BenchmarkResult":
    """Measure a bundle on a device, alone or in turns with other runtimes."""
    from edgecomp.bench.compare import PeerSettings, compare_engines
    from edgecomp.bench.result import BenchmarkResult
    from edgecomp.bench.runner import MeasureOptions

    options = options or BenchmarkOptions()
    device = _device(bundle, options.device)
    settings = MeasureOptions(
        threads=options.num_threads,
        warmup_runs=options.warmup_runs,
        num_runs=options.num_runs,
        max_secs=options.max_secs,
        profile=options.enable_op_profiling,
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


def tune(
    source: pathlib.Path | str, options: TuneOptions | None = None, progress: Progress = silent
) -> "TuneResult":
    """Measure the kernels of a model's layers on a device, into a cost table.

    Args:
        source: a bundle, or a model as for ``build``, float or quantized.
        options: where, how long and into which file.
        progress: told about every layer.

    Raises:
        EdgecompError: USAGE, DEVICE_UNREACHABLE, DEVICE_FAILED, COST_TABLE_INVALID.
    """
    from edgecomp.bench.devices import open_device
    from edgecomp.bundle.manifest import NAME as MANIFEST
    from edgecomp.cache import cache_folder
    from edgecomp.schedules.tuned import table_name
    from edgecomp.tune.session import TuneSettings, require_measurable, tune_model

    options = options or TuneOptions()
    name, model = options.target, source
    if (pathlib.Path(source) / MANIFEST).is_file():
        bundle = open(source)
        name, model = name or bundle.manifest.target.name, bundle.model_path
    target = load_target(name or "host")
    device = open_device(options.device, target)
    require_measurable(target, device)
    given = QuantizeOptions(input=options.input, opset=options.opset)
    with _about(source):
        prepared = _prepare(model, given, progress, None, None, None, target)
    folder = (options.cache_dir or cache_folder()) / "tuned"
    settings = TuneSettings(
        output=options.output or folder / table_name(target),
        threads=options.num_threads,
        trials=options.trials,
        max_secs=options.max_secs,
        cache=options.cache_dir,
    )
    return tune_model(prepared.model, target, device, settings, progress)


def check(
    model: Any, targets: Sequence[Target | str], inputs: Sequence[str] = ()
) -> "CheckReport":
    """Say which operators of a model run how on which target; compiles nothing.

    Args:
        model: as for ``build``.
        targets: names or targets.
        inputs: shapes as for ``--input``.
    """
    from edgecomp.frontend.load import load_model
    from edgecomp.lower.check import check_model
    from edgecomp.lower.ports import require_ports
    from edgecomp.passes.pipeline import float_passes, run_passes

    wanted = [t if isinstance(t, Target) else load_target(t) for t in targets]
    with _about(model):
        loaded = load_model(model, inputs=_input_specs(inputs))
        require_ports(loaded)
        if not _is_quantized(loaded):
            run_passes(loaded, float_passes())
        return check_model(loaded, wanted)


def save(model: "ir.Model", path: pathlib.Path) -> None:
    """Write an ONNX file whole or not at all."""
    import onnx_ir as ir

    from edgecomp.cache import write_whole

    try:
        write_whole(
            path, ir.serde.serialize_model(model).SerializeToString(deterministic=True)
        )
    except OSError as error:
        raise EdgecompError(
            Code.OUTPUT_UNWRITABLE, f"cannot write: {error.strerror}", path=str(path)
        ) from error


def _prepare(
    source: Any,
    options: QuantizeOptions,
    progress: Progress,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    dataset: Any,
    target: Target | None,
) -> _Prepared:
    """Source to portable model: load, float passes, calibration, Quantize/Dequantize."""
    from edgecomp.frontend.load import load_model
    from edgecomp.graph.run import random_feeds
    from edgecomp.lower.ports import require_ports
    from edgecomp.passes.pipeline import float_passes, run_passes

    progress("read the model")
    specs = _input_specs(options.input)
    model = load_model(source, args=args, kwargs=kwargs, inputs=specs, opset=options.opset)
    require_ports(model)
    facts: dict[str, Any] = {"precision": options.precision}
    feeds = random_feeds(model, seed=options.seed)
    if _is_quantized(model):
        # Its numbers are a contract already: nothing may be folded across its edges.
        if options.precision != "fp32":
            logger.warning("the model is quantized already: it is taken as it is")
        facts["precision"] = "as given"
        return _Prepared(model, [feeds], facts)
    progress("optimize the graph")
    reports = run_passes(
        model,
        float_passes(
            low_rank=_low_rank(target),
            strip=options.strip_pruned,
            channel_multiple=target.lanes(32) if target else 8,
        ),
        dump_dir=options.dump_passes,
        verify_feeds=feeds if options.verify_passes else None,
    )
    facts["passes"] = [report.name for report in reports if report.modified]
    facts["pass_reports"] = [
        {
            "name": report.name,
            "applied": report.applied,
            "refused": [str(refusal) for refusal in report.refusals],
            "notes": list(report.notes),
        }
        for report in reports
        if report.applied or report.refusals or report.notes
    ]
    samples = [feeds]
    if options.precision != "fp32":
        samples = _quantize(model, options, progress, dataset, facts)
    return _Prepared(model, samples, facts)


def _quantize(
    model: "ir.Model",
    options: QuantizeOptions,
    progress: Progress,
    dataset: Any,
    facts: dict[str, Any],
) -> list[dict[str, Array]]:
    """Insert Quantize and Dequantize nodes in place; return samples for golden vectors."""
    from edgecomp.calibrate.observe import collect_ranges
    from edgecomp.calibrate.readers import open_calibration
    from edgecomp.passes.correct_bias import correct_bias
    from edgecomp.passes.insert_qdq import InsertQdqPass
    from edgecomp.passes.pipeline import run_passes
    from edgecomp.passes.quantization_scope import InsertQdqOptions, values_to_observe

    source = options.calibration_data if dataset is None else dataset
    if source is None:
        raise EdgecompError(
            Code.USAGE,
            f"precision {options.precision} needs calibration data",
            hint="give a folder of typical images, an .npy or .npz file or a script",
        )
    qdq = InsertQdqOptions(
        nodes_to_exclude=options.nodes_to_exclude,
        op_types_to_quantize=options.op_types_to_quantize,
        per_channel=options.per_channel,
    )
    with _about(source, only=(Code.CALIBRATION_EMPTY, Code.CALIBRATION_INVALID)):
        calibration = open_calibration(
            source,
            model.graph.inputs,
            num_samples=options.num_samples,
            mean=options.mean or None,
            std=options.std or None,
            resize=options.resize,
        )
        ranges = collect_ranges(
            model,
            calibration,
            method=options.calibration_method,
            percentile=options.calibration_percentile,
            values=values_to_observe(model.graph, qdq),
            progress=lambda done, total: progress("calibrate", done, total or 0),
        )
        samples_used = calibration.used
        corrected = 0
        if options.bias_correction:
            corrected = correct_bias(
                model,
                calibration,
                ranges,
                qdq,
                progress=lambda done, total: progress("correct biases", done, total),
            )
    insert = InsertQdqPass(ranges, qdq)
    progress("insert quantization")
    run_passes(model, [insert], dump_dir=None)
    facts["quantization"] = {
        "precision": options.precision,
        "calibration_method": options.calibration_method,
        "samples": samples_used,
        "corrected_biases": corrected,
        "stay_float": dict(sorted(insert.refusals.items())),
    }
    facts["passes"] = [*facts["passes"], "InsertQdqPass"]
    return calibration.first[:GOLDEN_SAMPLES]


def _lower(
    prepared: _Prepared, target: Target, options: BuildOptions, name: str, progress: Progress
) -> "Record":
    """Golden vectors and plan of a portable model."""
    import onnx_ir as ir

    from edgecomp.bundle.record import Record
    from edgecomp.lower.lower import lower
    from edgecomp.lower.read import read_program, require_possible
    from edgecomp.schedules.tuned import table_for

    # The order of these three: a list of all operators that cannot be compiled says more than
    # the first one that the reference cannot run; and a model that the reference cannot run is
    # wrong in a way that lowering need not survive.
    progress("compute golden vectors")
    require_possible(read_program(prepared.model, target, name)[1])
    golden = [
        (dict(feeds), golden_outputs(prepared.model, feeds)) for feeds in prepared.samples
    ]
    progress("lower")
    lowered = lower(
        prepared.model,
        target,
        name=name,
        require_full_target=options.require_full_target,
        without=() if options.winograd else (WINOGRAD_SCHEDULE,),
        table=table_for(target, options.cost_table),
        cache=options.cache_dir,
        progress=progress,
    )
    prepared.facts["fallbacks"] = [dataclasses.asdict(f) for f in lowered.fallbacks]
    prepared.facts["kernel_choice"] = lowered.kernel_choice
    model = ir.serde.serialize_model(prepared.model)
    return Record(
        lowered.plan, model.SerializeToString(deterministic=True), golden, prepared.facts
    )


def golden_outputs(model: "ir.Model", feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What the model means: the numpy reference where it is quantized, else onnxruntime."""
    if _is_quantized(model):
        from edgecomp.reference.interpreter import run_reference

        return run_reference(model, feeds)
    from edgecomp.graph.run import run_model

    return run_model(model, feeds)


def _low_rank(target: Target | None) -> "FoldLowRankPass":
    """The pass that folds low-rank pairs, by the target's modelled cost where there is one."""
    from edgecomp.passes.fold_low_rank import FactoredLayer, FoldLowRankPass

    if target is None:
        return FoldLowRankPass()
    from edgecomp.schedules.cpu.product_cost import product_cost

    def cost(layer: FactoredLayer) -> tuple[float, float]:
        first = product_cost(layer.first_rows or layer.rows, layer.inputs, layer.rank, target)
        second = product_cost(layer.rows, layer.rank * layer.window, layer.outputs, target)
        one = product_cost(layer.rows, layer.inputs * layer.window, layer.outputs, target)
        return first + second, one

    return FoldLowRankPass(cost)


def _input_specs(texts: Sequence[str]) -> dict[str, Any]:
    from edgecomp.frontend.input_spec import parse_input_specs

    return parse_input_specs(texts)


def _is_quantized(model: "ir.Model") -> bool:
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph)


def _device(bundle: "Bundle", spec: str) -> "Device":
    from edgecomp.bench.devices import open_device

    # Only an emulator depends on the target; a bundle for a user's own target file must run
    # where that file is not.
    target = load_target(bundle.manifest.target.name) if spec == "qemu" else None
    return open_device(spec, target)


def _require_free(path: pathlib.Path, source: Any, *, force: bool) -> None:
    """Refuse a file that cannot or must not be written, before any work is done."""
    if not os.path.lexists(path):
        return
    cause = "the output exists already"
    hint = "give another --output, or --force to replace it"
    if path.is_dir():
        cause, hint = "the output is a folder", "give the name of a file with --output"
    elif isinstance(source, (str, pathlib.Path)) and path.resolve() == _resolved(source):
        cause, hint = "the output is the model itself", "give another --output"
    elif force:
        return
    raise EdgecompError(Code.OUTPUT_EXISTS, cause, path=str(path), hint=hint)


def _resolved(source: str | pathlib.Path) -> pathlib.Path:
    return pathlib.Path(source).resolve()


@contextlib.contextmanager
def _about(source: Any, only: Collection[Code] = ()) -> Iterator[None]:
    """Errors inside that name no file are about this one; ``only`` those of some codes."""
    try:
        yield
    except EdgecompError as error:
        if isinstance(source, (str, pathlib.Path)) and (not only or error.code in only):
            error.path = error.path or str(source)
        raise


def _name_of(model: Any) -> str:
    """C identifier from the source's name."""
    from edgecomp.plan.names import c_identifier

    if isinstance(model, (str, pathlib.Path)):
        text = str(model)
        entry = text.rpartition(":")[2] if ":" in text else pathlib.Path(text).stem
        return c_identifier(entry)
    return c_identifier(type(model).__name__.lower())
