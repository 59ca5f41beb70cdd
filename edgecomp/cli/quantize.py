"""``edgecomp quantize``."""

import dataclasses
import json
from typing import Any

import click

from edgecomp.cli.budget import within_budget
from edgecomp.cli.build import require_calibration
from edgecomp.cli.bundles import default_output
from edgecomp.cli.flags import MODEL_HELP, model_argument, require_model, with_options
from edgecomp.cli.talk import Talk
from edgecomp.options import (
    DYNAMIC_BITS,
    VERB_DEFAULTS,
    WEIGHT_BITS,
    WEIGHT_TYPES,
    WEIGHTS_PROPERTY,
    BudgetOptions,
)

_HELP = f"""Write the portable quantized model (QDQ ONNX).

Any ONNX runtime runs it; 'edgecomp build' compiles it as it is.

{MODEL_HELP}
"""


@click.command("quantize", help=_HELP)
@model_argument
@with_options(BudgetOptions, presets=VERB_DEFAULTS["quantize"])
def command(model: str | None, options: BudgetOptions, talk: Talk) -> None:
    """Write the quantized model."""
    source = require_model(model)
    require_calibration(options)
    if options.output is None:
        output = default_output(source, f".{options.precision}.onnx")
        options = dataclasses.replace(options, output=output)
    from edgecomp import api

    with talk.progress() as progress:
        options, budget = within_budget(source, options, progress)
        quantized = api.quantize(
            source, options.calibration_data, options=options, progress=progress
        )
    facts: dict[str, Any] = {"model": str(options.output), "precision": options.precision}
    if options.precision == "auto":
        # A model that was quantized already has none.
        facts |= json.loads(quantized.metadata_props.get("edgecomp.precision_choice", "{}"))
    facts |= quantized.meta.get("edgecomp.calibration", {})
    lines = [str(options.output)]
    if options.precision in (*DYNAMIC_BITS, *WEIGHT_BITS, *WEIGHT_TYPES, "w4a8"):
        facts["weights"] = json.loads(quantized.metadata_props.get(WEIGHTS_PROPERTY, "[]"))
        lines += [_weights_line(row) for row in facts["weights"]]
    talk.result(facts | budget.facts, "\n".join([*lines, *budget.lines]))


def _weights_line(row: dict[str, Any]) -> str:
    """A layer whose weights are stored in few bits; the control stands beside any method."""
    text = f"{row['node']}: {row['float_bytes']} to {row['bytes']} bytes, {row['method']}"
    if "error" in row:
        text += f", error {row['error']:.2e} (rtn {row['rtn_error']:.2e})"
    return f"{text}; {row['note']}" if "note" in row else text
