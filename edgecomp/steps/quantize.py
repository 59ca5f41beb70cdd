"""Calibration and the insertion of Quantize and Dequantize nodes."""

from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.observe import collect_ranges
from edgecomp.calibrate.readers import open_calibration
from edgecomp.errors import Code, EdgecompError
from edgecomp.options import QuantizeOptions
from edgecomp.passes.correct_bias import correct_bias
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.pipeline import run_passes
from edgecomp.passes.quantization_scope import InsertQdqOptions, values_to_observe
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.steps.source import errors_about

#: Samples whose outputs are kept in the bundle for ``verify``.
GOLDEN_SAMPLES = 2


def insert_quantization(
    model: ir.Model, options: QuantizeOptions, progress: Progress, dataset: Any
) -> tuple[list[dict[str, Array]], dict[str, Any]]:
    """Calibrate a float model and quantize it in place.

    Args:
        model: after the float passes.
        options: how.
        progress: told about every step.
        dataset: samples, in place of ``options.calibration_data``.

    Returns:
        Samples for golden vectors, and facts for the manifest.

    Raises:
        EdgecompError: USAGE, CALIBRATION_EMPTY, CALIBRATION_INVALID.
    """
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
    with errors_about(source, only=(Code.CALIBRATION_EMPTY, Code.CALIBRATION_INVALID)):
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
    facts = {
        "precision": options.precision,
        "calibration_method": options.calibration_method,
        "samples": calibration.used,
        "corrected_biases": corrected,
        "stay_float": dict(sorted(insert.refusals.items())),
    }
    return calibration.first[:GOLDEN_SAMPLES], facts
