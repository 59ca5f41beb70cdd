"""The steps joined: what ``import edgecomp`` and the command line offer."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from edgecomp.device.load import load_target
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.held import scratch_folder
from edgecomp.options import (
    BenchmarkOptions,
    BudgetOptions,
    BuildOptions,
    DebugOptions,
    QuantizeOptions,
    TuneOptions,
)
from edgecomp.plan.values import Array
from edgecomp.progress import Progress, silent
from edgecomp.steps.source import errors_about, name_of, require_free

# Everything that is heavy to import is imported where it is used: `edgecomp --help` and
# `edgecomp targets` come through here too.
if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecomp.bench.device import Device
    from edgecomp.bench.result import BenchmarkResult, VerifyResult
    from edgecomp.budget.result import BudgetReport
    from edgecomp.bundle.reader import Bundle
    from edgecomp.bundle.toolchain import ToolchainUse
    from edgecomp.debugging.result import DebugReport
    from edgecomp.lower.check_report import CheckReport
    from edgecomp.train.loop import Loss
    from edgecomp.tune.result import TuneResult


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
    from edgecomp.bundle.record import find_record, keeping
    from edgecomp.bundle.record_key import record_key
    from edgecomp.bundle.write import write_bundle
    from edgecomp.device.accelerators import require_accelerators
    from edgecomp.steps.save_recipe import save_recipe

    options = options or BuildOptions()
    if options.output is None:
        raise EdgecompError(Code.USAGE, "no output folder is given", hint="set output")
    _require_output_free(model, options)
    target = load_target(options.target)
    require_accelerators(target, options.accelerators)
    given: dict[str, Any] = {
        "args": args, "kwargs": kwargs, "calibration_dataset": calibration_dataset
    }  # fmt: skip
    if options.has_budget:
        with scratch_folder() as scratch:
            recipe = pathlib.Path(scratch) / "recipe.yaml"
            chosen, _ = within_budget(model, options, progress, recipe=recipe, **given)
            return build(model, chosen, progress, **given)
    is_file_alone = all(each is None for each in given.values())
    key = record_key(model, options, target, _gpu_compiler(target)) if is_file_alone else ""
    record = find_record(key, options.cache_dir)
    meanwhile: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if record is None:
        from edgecomp.lower.compile_ahead import compiling_ahead

        if TYPE_CHECKING:
            from edgecomp.steps.prepare import Prepared

        def prepared_at(
            sizes: Mapping[str, int] | None = None, largest: "Prepared | None" = None
        ) -> "Prepared":
            from edgecomp.steps.prepare import prepare

            return prepare(
                model,
                options,
                progress,
                args=args,
                kwargs=kwargs,
                dataset=calibration_dataset,
                target=target,
                sizes=sizes,
                largest=largest,
            )

        with errors_about(model), compiling_ahead() as ahead:
            if options.precision == "fp32":  # calibration takes longer than what this begins
                ahead.start()
            from edgecomp.steps.record import make_record

            name = options.name or name_of(model)
            prepared = prepared_at()
            record = make_record(
                prepared, target, options, name, progress, at_sizes=prepared_at, ahead=ahead
            )
        meanwhile = keeping(key, record, options.cache_dir)
    save_recipe(record.facts, options)
    progress("link and write the bundle")
    with meanwhile:
        return write_bundle(
            record.plan,
            target,
            options.output,
            model_bytes=record.model_bytes,
            model_data=record.model_data,
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
    from edgecomp.steps.prepare import prepare
    from edgecomp.steps.save_recipe import save_recipe

    _require_by_name(calibration_dataset)
    options = options or QuantizeOptions(precision="w8a8")
    _require_output_free(model, options)
    if isinstance(options, BudgetOptions) and options.has_budget:
        given: dict[str, Any] = {"args": args, "calibration_dataset": calibration_dataset}
        with scratch_folder() as scratch:
            recipe = pathlib.Path(scratch) / "recipe.yaml"
            chosen, _ = within_budget(model, options, progress, recipe=recipe, **given)
            return quantize(model, options=chosen, progress=progress, **given)
    target = load_target(options.target) if options.target else None
    with errors_about(model):
        prepared = prepare(
            model, options, progress, args=args, dataset=calibration_dataset, target=target
        )
    save_recipe(prepared.facts, options)
    if options.output is not None:
        save(prepared.model, options.output)
    return prepared.model


def within_budget(
    model: Any,
    options: BudgetOptions,
    progress: Progress = silent,
    *,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    calibration_dataset: Any = None,
    recipe: pathlib.Path | None = None,
) -> "tuple[Any, BudgetReport]":
    """Choose precisions and settings under ``--max-drop``, ``--max-bytes`` and ``--max-ms``.

    Args:
        model: as for ``build``.
        options: of ``build`` or ``quantize``, with a budget.
        progress: told about every step.
        args: example inputs of a torch module.
        kwargs: keyword example inputs of a torch module.
        calibration_dataset: samples, where ``options.calibration_data`` is not given.
        recipe: file that what was found is written to, see ``options.RECIPE_SUFFIXES``;
            ``options.save_recipe`` before it.

    Returns:
        Options without budgets that build by that recipe, and what was tried.

    Raises:
        EdgecompError: what ``steps.budget.search_budget`` raises; OUTPUT_EXISTS,
            OUTPUT_UNWRITABLE.
    """
    from edgecomp.budget.result import describe
    from edgecomp.recipe.read import recipe_of
    from edgecomp.recipe.write import write_recipe
    from edgecomp.steps.budget import search_budget
    from edgecomp.steps.budget_files import by_recipe

    options = dataclasses.replace(options, save_recipe=options.save_recipe or recipe)
    if options.save_recipe is None:
        raise EdgecompError(
            Code.USAGE, "no file for the recipe is given", hint="set save_recipe"
        )
    _require_output_free(model, options)
    target = load_target(options.target) if options.target else None
    with errors_about(model):
        report = search_budget(
            model,
            options,
            progress,
            args=args,
            kwargs=kwargs,
            dataset=calibration_dataset,
            target=target,
        )
    write_recipe(recipe_of(list(report.recipe)), options.save_recipe, [describe(report.best)])
    return by_recipe(options, options.save_recipe), report


def finetune(
    model: Any,
    batches: Iterable[Any],
    loss: "Loss | None" = None,
    *,
    calibration_dataset: Any = None,
    options: QuantizeOptions | None = None,
    args: Sequence[Any] | None = None,
    epochs: int = 1,
    learning_rate: float = 1e-4,
    step_learning_rate: float = 1e-3,
    progress: Progress = silent,
) -> "ir.Model":
    """Quantize a model, then train it in torch as it will be built (QDQ ONNX).

    Args:
        model: as for ``build``; one that is quantized already is trained as it is.
        batches: inputs, or pairs of inputs and targets (see ``train.loop.finetune``).
        loss: of outputs and targets; None to learn the float model's outputs.
        calibration_dataset: path, iterable or reader (see ``calibrate.readers``).
        options: how it is quantized; the result is written to ``options.output`` where that is
            given.
        args: example inputs of a torch module.
        epochs: how often all batches are read.
        learning_rate: of weights, at the beginning; it falls to zero along a cosine.
        step_learning_rate: of scales and zero points, in shares of the scale and of the range.
        progress: told about every step.

    Raises:
        EdgecompError: what ``quantize`` raises; PACKAGE_MISSING without torch,
            OPERATOR_UNSUPPORTED where an operator cannot be trained through.
    """
    from edgecomp.steps.finetune import finetune as train

    _require_by_name(loss, calibration_dataset)
    options = options or QuantizeOptions(precision="w8a8")
    _require_output_free(model, options)
    with errors_about(model):
        trained = train(
            model,
            batches,
            loss,
            options=options,
            dataset=calibration_dataset,
            args=args,
            progress=progress,
            epochs=epochs,
            learning_rate=learning_rate,
            step_learning_rate=step_learning_rate,
        )
    if options.output is not None:
        save(trained, options.output)
    return trained


def debug(
    model: Any,
    calibration_dataset: Any = None,
    *,
    options: DebugOptions | None = None,
    progress: Progress = silent,
    args: Sequence[Any] | None = None,
) -> "DebugReport":
    """Find the layers that a quantized model loses its accuracy in, and what helps.

    Args:
        model: float, as for ``build``.
        calibration_dataset: samples that can be read twice (see ``calibrate.readers``), where
            ``options.calibration_data`` is not given.
        options: how it is quantized, what is searched, and which files are written.
        progress: told about every step.
        args: example inputs of a torch module.

    Raises:
        EdgecompError: what ``steps.debug.debug`` raises; OUTPUT_EXISTS, OUTPUT_UNWRITABLE.
    """
    from edgecomp.steps.debug import debug as find_layers
    from edgecomp.steps.debug_files import require_writable, write_files

    _require_by_name(calibration_dataset)
    options = options or DebugOptions()
    require_writable(options, model)
    target = load_target(options.target) if options.target else None
    with errors_about(model):
        report = find_layers(
            model, options, progress, args=args, dataset=calibration_dataset, target=target
        )
    write_files(report, options)
    return report


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
    from edgecomp.steps.tune import tune as measure_layers

    return measure_layers(source, options or TuneOptions(), progress)


def check(
    model: Any,
    targets: Sequence[Target | str],
    inputs: Sequence[str] = (),
    constants: Sequence[str] = (),
    bounds: Sequence[str] = (),
) -> "CheckReport":
    """Say which operators of a model run how on which target; compiles nothing.

    Args:
        model: as for ``build``.
        targets: names or targets.
        inputs: shapes as for ``--input``.
        constants: contents as for ``--constant``.
        bounds: as for ``--bound``.
    """
    from edgecomp.steps.check import check as look_at

    wanted = [t if isinstance(t, Target) else load_target(t) for t in targets]
    with errors_about(model):
        return look_at(model, wanted, inputs, constants, bounds)


def save(model: "ir.Model", path: pathlib.Path) -> None:
    """Write an ONNX file whole or not at all.

    One above 2 GB has its large weights beside it, in ``<name>.data``.
    """
    from edgecomp.cache import write_whole
    from edgecomp.graph.portable import serialize
    from edgecomp.writable import writable

    data_path = path.with_name(f"{path.name}.data")
    content, data = serialize(model, data_path.name)
    with writable(path):
        if data:  # first: no model names a file that is not there
            write_whole(data_path, data)
        write_whole(path, content)


def _require_by_name(*given: Any) -> None:
    """Refuse options where something else stands."""
    for each in given:
        if isinstance(each, QuantizeOptions):
            raise EdgecompError(
                Code.USAGE,
                f"{type(each).__name__} in the place of another argument",
                hint="give it by name: options=...",
            )


def _gpu_compiler(target: Target) -> str:
    """What the compiler that a target's GPU needs says about itself, "" where it needs none."""
    if target.gpu is None or target.gpu.api != "cuda":
        return ""
    from edgecomp.lower.nvcc import nvcc_identity

    return nvcc_identity()


def _require_output_free(model: Any, options: QuantizeOptions) -> None:
    """Refuse an output that must not be written, before any work is done.

    Raises:
        EdgecompError: OUTPUT_EXISTS.
    """
    from edgecomp.bundle.directory import check_free

    if options.save_recipe is not None:
        require_free(options.save_recipe, model, force=options.force, flag="--save-recipe")
    if options.output is None:
        return
    if isinstance(options, BuildOptions):
        check_free(options.output, force=options.force)
    else:
        require_free(options.output, model, force=options.force)


def _device(bundle: "Bundle", spec: str) -> "Device":
    from edgecomp.bench.devices import open_device

    # Only an emulator depends on the target; a bundle for a user's own target file must run
    # where that file is not.
    target = load_target(bundle.manifest.target.name) if spec == "qemu" else None
    return open_device(spec, target)
