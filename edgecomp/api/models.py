"""Models that stay ONNX: traced, quantized, trained and written."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgecomp.api.arguments import require_by_name, require_output_free, target_of
from edgecomp.api.budgets import chosen_within_budget
from edgecomp.options import BudgetOptions, QuantizeOptions
from edgecomp.progress import Progress, silent
from edgecomp.steps.source import errors_about
from edgecomp.writable import require_writable_file, writable

# Everything that is heavy to import is imported where it is used: `edgecomp --help` and
# `edgecomp targets` come through here too.
if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecomp.train.loop import Loss


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

    if output is not None:
        require_writable_file(pathlib.Path(output))
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

    require_by_name(calibration_dataset)
    options = options or QuantizeOptions(precision="w8a8")
    require_output_free(model, options)
    if isinstance(options, BudgetOptions) and options.has_budget:
        given: dict[str, Any] = {"args": args, "calibration_dataset": calibration_dataset}
        with chosen_within_budget(model, options, progress, **given) as chosen:
            return quantize(model, options=chosen, progress=progress, **given)
    target = target_of(options)
    with errors_about(model):
        prepared = prepare(
            model, options, progress, args=args, dataset=calibration_dataset, target=target
        )
    save_recipe(prepared.facts, options)
    if options.output is not None:
        save(prepared.model, options.output)
    return prepared.model


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

    require_by_name(loss, calibration_dataset)
    options = options or QuantizeOptions(precision="w8a8")
    require_output_free(model, options)
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


def save(model: "ir.Model", path: pathlib.Path | str) -> None:
    """Write an ONNX file whole or not at all.

    One above 2 GB has its large weights beside it, in ``<name>.data``.
    """
    from edgecomp.cache import write_whole
    from edgecomp.graph.portable import serialize

    path = pathlib.Path(path)
    data_path = path.with_name(f"{path.name}.data")
    content, data = serialize(model, data_path.name)
    with writable(path):
        if data:  # first: no model names a file that is not there
            write_whole(data_path, data)
        write_whole(path, content)
