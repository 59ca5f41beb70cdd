"""``--precision auto``: which layers of a calibrated model become integer on a target."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.calibrate.ranges import Range
from edgecomp.device.target import Target
from edgecomp.graph.shapes import static_shape
from edgecomp.lower.price import price_conversions, price_model
from edgecomp.passes.choose_precision import (
    Layer,
    choose_precision,
    least_gain,
    quantized_values,
    time_text,
)
from edgecomp.passes.insert_qdq import InsertQdqPass
from edgecomp.passes.layer_prices import total_seconds
from edgecomp.passes.quantization_options import InsertQdqOptions
from edgecomp.plan.prices import Price
from edgecomp.schedules.cost import Table


@dataclasses.dataclass(frozen=True)
class PrecisionChoice:
    """What was chosen.

    Attributes:
        result: ``int8`` (all layers that can be), ``mixed`` or ``float``.
        options: with the layers that stay float.
        layers: each layer that can be integer, as a minimum cut has it.
        seconds: price of the model on one core: ``float``, ``int8`` and, where some layers
            but not all become integer, ``mixed``.
        measured: whether products were measured on the target, in each form.
    """

    result: str
    options: InsertQdqOptions
    layers: tuple[Layer, ...]
    seconds: dict[str, float]
    measured: bool

    @property
    def stays_float(self) -> dict[str, str]:
        """First node of each layer that could be integer and is not -> why."""
        return {
            layer.nodes[0]: self.options.stay_float[layer.nodes[0]]
            for layer in self.layers
            if layer.nodes[0] in self.options.stay_float
        }

    @property
    def facts(self) -> dict[str, Any]:
        """For the report."""
        stays = self.stays_float
        return {
            "precision_choice": {
                "result": self.result,
                "prices": "measured" if self.measured else "modelled",
                "layers_that_can_be_int8": len(self.layers),
                "layers_that_stay_float": len(stays),
                **{f"{form}_ms": round(s * 1e3, 6) for form, s in self.seconds.items()},
            },
            "layers_that_stay_float": [f"{node}: {why}" for node, why in stays.items()],
        }


def choose_layers(
    model: ir.Model,
    ranges: Mapping[str, Range],
    options: InsertQdqOptions,
    target: Target,
    *,
    table: Table | None = None,
    without: Collection[str] = (),
) -> PrecisionChoice:
    """Price the model in float and in 8 bits and choose per layer; then as a whole.

    Args:
        model: float, not changed.
        ranges: of all values that may be stored.
        options: what may be quantized.
        target: device.
        table: measured times of layers.
        without: names of schedules that are not used.
    """

    def price(changed: ir.Model) -> list[Price]:
        return price_model(changed, target, table=table, without=without)

    scope = InsertQdqPass(ranges, options).scope_of(model.graph)
    plain, integer = price(model), price(_quantized(model, ranges, options))
    values = quantized_values(scope)
    shapes = {v.name or "": static_shape(v) or () for v in values}
    inputs = {v.name or "" for v in values if v.is_graph_input()}
    conversions = price_conversions(shapes, inputs, target)
    layers = choose_precision(scope, plain, integer, conversions)
    prices = {"float": plain, "int8": integer}
    forms = {"int8": options}
    if len({layer.integer for layer in layers}) > 1:
        forms["mixed"] = _staying(options, layers)
        prices["mixed"] = price(_quantized(model, ranges, forms["mixed"]))
    seconds, measured = total_seconds(prices)
    result = _best(seconds, measured=measured)
    if result == "float":
        forms["float"] = _staying(options, layers, _whole_reason(seconds, measured=measured))
    return PrecisionChoice(result, forms[result], tuple(layers), seconds, measured)


def _best(seconds: Mapping[str, float], *, measured: bool) -> str:
    """The form of the whole model: of two that cost the same the one with more float."""
    forms = [form for form in ("mixed", "int8") if form in seconds]
    best = min(forms, key=lambda form: seconds[form])
    return (
        best if seconds[best] <= seconds["float"] * least_gain(measured=measured) else "float"
    )


def _whole_reason(seconds: Mapping[str, float], *, measured: bool) -> str:
    """Why layers stay float that would be faster, were they alone."""
    best = min(s for form, s in seconds.items() if form != "float")
    return (
        f"the whole model gains too little: int8 {time_text(best)}, "
        f"float {time_text(seconds['float'])}, {'measured' if measured else 'modelled'}"
    )


def _staying(
    options: InsertQdqOptions, layers: Sequence[Layer], others: str = ""
) -> InsertQdqOptions:
    """The options with the float layers, and with ``others`` as a reason all, left float."""
    reasons = {
        name: others if layer.integer else layer.reason
        for layer in layers
        if others or not layer.integer
        for name in layer.nodes
    }
    return dataclasses.replace(options, stay_float={**options.stay_float, **reasons})


def _quantized(
    model: ir.Model, ranges: Mapping[str, Range], options: InsertQdqOptions
) -> ir.Model:
    copy = model.clone()
    InsertQdqPass(ranges, options)(copy)
    return copy
