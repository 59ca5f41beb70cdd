"""Weights in few bits, activations in float: which, by which method, with what error."""

import logging
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.readers import CalibrationSet
from edgecomp.compress.grid import WeightForm
from edgecomp.compress.weight_layers import store_layers
from edgecomp.errors import Code, EdgecompError
from edgecomp.frontend.opset import convert_opset
from edgecomp.graph.run import random_feeds
from edgecomp.options import WEIGHT_BITS, QuantizeOptions
from edgecomp.passes.store_weights import TWO_BITS_OPSET, StoreWeightsPass
from edgecomp.passes.weight_scope import require_group, weight_scope
from edgecomp.progress import Progress
from edgecomp.steps.beside import GROUP
from edgecomp.steps.calibrate import open_samples
from edgecomp.steps.quantize import GOLDEN_SAMPLES, Quantization
from edgecomp.steps.source import errors_about
from edgecomp.steps.stored_alone import scope_options, store_alone
from edgecomp.steps.weight_rows import layer_row

logger = logging.getLogger(__name__)

#: Up to so many bits of a weight take 2 in the portable model where its operator set has them.
_BITS_OF_OPSET_25 = 2


def quantize_weights(
    model: ir.Model, options: QuantizeOptions, progress: Progress, dataset: Any
) -> Quantization:
    """Store the weights of a float model's products in few bits, in place.

    Args:
        model: after the float passes.
        options: how.
        progress: told about every step.
        dataset: samples, in place of ``options.calibration_data``; without either weights are
            rounded to nearest.

    Raises:
        EdgecompError: USAGE, CALIBRATION_EMPTY, CALIBRATION_INVALID.
    """
    source = options.calibration_data if dataset is None else dataset
    if source is None and options.method == "gptq":
        raise EdgecompError(
            Code.USAGE,
            "method gptq needs calibration data",
            hint="give typical inputs, or --method rtn, which needs none",
        )
    form = _form(options)
    if form.bits <= _BITS_OF_OPSET_25:
        _raise_opset(model)
    scope = weight_scope(model, scope_options(options))
    if options.group_size not in (None, -1):
        require_group(scope.products, form.group)
    method = options.method or ("rtn" if source is None else "gptq")
    progress("store the weights", 0, len(scope.products))

    def told(done: int, total: int) -> None:
        progress("store the weights", done, total)

    calibration: CalibrationSet | None = None
    if source is None:
        layers = store_layers(model, scope.products, form, method=method, progress=told)
        samples = [random_feeds(model, seed=options.seed)]
    else:
        with errors_about(source, only=(Code.CALIBRATION_EMPTY, Code.CALIBRATION_INVALID)):
            calibration = open_samples(model, options, source).feeds
            layers = store_layers(
                model, scope.products, form, method=method, samples=calibration, progress=told
            )
        samples = calibration.first[:GOLDEN_SAMPLES]
    store = StoreWeightsPass({name: layer.weights for name, layer in layers.items()})
    rows = [layer_row(name, layer) for name, layer in layers.items()]
    facts = {
        "activations": "float32",
        "method": method,
        "group_size": form.group or -1,
        "symmetric": form.symmetric,
        "weight_ranges": form.ranges,
        "samples": 0 if calibration is None else calibration.used,
        "stay_float": {each.node: each.reason for each in scope.refusals},
    }
    return store_alone(model, options, store, rows, facts, samples)


def _form(options: QuantizeOptions) -> WeightForm:
    bits = WEIGHT_BITS[options.precision]
    group = 0 if bits == 1 else GROUP
    if options.group_size is not None:
        group = max(0, options.group_size)
    return WeightForm(
        bits=bits,
        group=group,
        symmetric=options.symmetric,
        ranges=options.weight_ranges,
    )


def _raise_opset(model: ir.Model) -> None:
    """To the first operator set with 2-bit types; where it cannot be, 4 bits hold the numbers."""
    try:
        convert_opset(model, TWO_BITS_OPSET)
    except EdgecompError as error:
        logger.warning("2-bit weights take 4 bits in the portable model: %s", error.cause)
