"""Quantize a model, then train what was quantized."""

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from edgecomp.device.load import load_target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.qdq import is_quantized
from edgecomp.options import BudgetOptions, ModelOptions, QuantizeOptions
from edgecomp.progress import Progress
from edgecomp.steps.prepare import float_options, prepare
from edgecomp.steps.save_recipe import save_recipe

if TYPE_CHECKING:
    from edgecomp.train.loop import Loss

logger = logging.getLogger(__name__)


def finetune(
    source: Any,
    batches: Iterable[Any],
    loss: "Loss | None",
    *,
    options: QuantizeOptions,
    dataset: Any,
    args: Sequence[Any] | None,
    progress: Progress,
    epochs: int,
    learning_rate: float,
    step_learning_rate: float,
) -> ir.Model:
    """See ``api.finetune``."""
    from edgecomp import train

    run = train.finetune  # asks for torch before anything is computed
    if isinstance(options, BudgetOptions) and options.has_budget:
        raise EdgecompError(
            Code.USAGE,
            "a model is not trained and searched under budgets at once",
            hint="quantize with the budgets and save_recipe first, then give that recipe",
        )
    target = load_target(options.target) if options.target else None
    reading = float_options(options)
    teacher = prepare(source, reading, progress, args=args, target=target).model
    if is_quantized(teacher) and loss is None:
        raise EdgecompError(
            Code.USAGE,
            "the model is quantized already: there is no float model to learn from",
            hint="give a loss and batches with targets, or the float model",
        )
    as_read: dict[str, Any] = {
        field.name: field.default for field in dataclasses.fields(ModelOptions)
    }
    further = dataclasses.replace(options, **as_read, dump_passes=None)
    prepared = prepare(teacher.clone(), further, progress, dataset=dataset, target=target)
    if not is_quantized(prepared.model):
        raise EdgecompError(
            Code.USAGE,
            f"nothing of the model is quantized with precision {options.precision}",
            hint="give QuantizeOptions(precision='w8a8')",
        )
    save_recipe(prepared.facts, options)
    found = run(
        prepared.model,
        batches,
        loss,
        teacher=teacher if loss is None else None,
        epochs=epochs,
        learning_rate=learning_rate,
        step_learning_rate=step_learning_rate,
        progress=progress,
    )
    logger.info("mean loss by epoch: %s", ", ".join(f"{each:.4g}" for each in found.losses))
    return found.model
