"""A model to a bundle: the whole way."""

import contextlib
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from edgecomp.api.arguments import require_output_free
from edgecomp.api.budgets import chosen_within_budget
from edgecomp.device.load import load_target
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import BuildOptions
from edgecomp.progress import Progress, silent
from edgecomp.steps.source import errors_about, name_of

# Everything that is heavy to import is imported where it is used: `edgecomp --help` and
# `edgecomp targets` come through here too.
if TYPE_CHECKING:
    from edgecomp.bundle.reader import Bundle
    from edgecomp.bundle.record import Record
    from edgecomp.bundle.toolchain import ToolchainUse
    from edgecomp.steps.prepare import Prepared


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
    from edgecomp.device.accelerators import require_accelerators
    from edgecomp.steps.save_recipe import save_recipe

    options = options or BuildOptions()
    if options.output is None:
        raise EdgecompError(Code.USAGE, "no output folder is given", hint="set output")
    require_output_free(model, options)
    target = load_target(options.target)
    require_accelerators(target, options.accelerators)
    given: dict[str, Any] = {
        "args": args, "kwargs": kwargs, "calibration_dataset": calibration_dataset
    }  # fmt: skip
    if options.has_budget:
        with chosen_within_budget(model, options, progress, **given) as chosen:
            return build(model, chosen, progress, **given)
    is_file_alone = all(each is None for each in given.values())
    key = record_key(model, options, target, _gpu_compiler(target)) if is_file_alone else ""
    record = find_record(key, options.cache_dir)
    meanwhile: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if record is None:
        record = _made(model, options, progress, target, **given)
        meanwhile = keeping(key, record, options.cache_dir)
    save_recipe(record.facts, options)
    progress("link and write the bundle")
    with meanwhile:
        return _written(record, options, progress, target, options.output)


def _made(
    model: Any,
    options: BuildOptions,
    progress: Progress,
    target: Target,
    *,
    args: Sequence[Any] | None,
    kwargs: Mapping[str, Any] | None,
    calibration_dataset: Any,
) -> "Record":
    """All that a bundle is written from."""
    from edgecomp.lower.compile_ahead import compiling_ahead

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
        return make_record(
            prepared_at(), target, options, name, progress, at_sizes=prepared_at, ahead=ahead
        )


def _written(
    record: "Record",
    options: BuildOptions,
    progress: Progress,
    target: Target,
    output: pathlib.Path,
) -> "Bundle":
    from edgecomp.bundle.write import write_bundle

    return write_bundle(
        record.plan,
        target,
        output,
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


def _gpu_compiler(target: Target) -> str:
    """What the compiler that a target's GPU needs says about itself, "" where it needs none."""
    if target.gpu is None or target.gpu.api != "cuda":
        return ""
    from edgecomp.lower.nvcc import nvcc_identity

    return nvcc_identity()
