"""The passes that a recipe can name: what they take, and what they change about a layer.

A pass is one entry of ``PASSES``: its name, a dataclass of its arguments and a function from a
layer's settings before it to those after it. Reading, the JSON Schema and the documentation come
from the entry.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from edgecomp.options import (
    CALIBRATION_METHODS,
    PRECISIONS,
    SEARCHED,
    WEIGHT_METHODS,
    WEIGHT_ROUNDINGS,
)
from edgecomp.recipe.settings import LayerSettings

#: Names of ``PRECISIONS`` that a layer can have: all but that which chooses layers itself.
LAYER_PRECISIONS = tuple(name for name in PRECISIONS if name != "auto")


@dataclasses.dataclass(frozen=True)
class ArgumentFacts:
    """What reading and the schema need to know about an argument.

    Attributes:
        help: one sentence without a final period.
        choices: names, with the other names of each; empty for any value.
        above: numbers are greater than this.
        least: numbers are at least this.
        most: numbers are at most this.
    """

    help: str
    choices: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    above: float | None = None
    least: float | None = None
    most: float | None = None

    def holds(self, value: Any) -> bool:
        """Whether a value is within the bounds; NaN is in none."""
        return (
            (self.above is None or value > self.above)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )

    @property
    def bounds(self) -> str:
        """In words."""
        parts = (("more than", self.above), ("at least", self.least), ("at most", self.most))
        return " and ".join(
            f"{words} {bound:g}" for words, bound in parts if bound is not None
        )


def _argument(help_text: str, **facts: Any) -> Any:
    return dataclasses.field(
        default=None, metadata={"argument": ArgumentFacts(help_text, **facts)}
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizeArguments:
    """What is left out stays as the flags or the steps before have it."""

    precision: str | None = _argument(
        "numbers that the layers are computed in; w8a8 where it is left out",
        choices={name: PRECISIONS[name] for name in LAYER_PRECISIONS},
    )
    calibration_method: str | None = _argument(
        "how the ranges of the activations that the layers read are chosen",
        choices=CALIBRATION_METHODS,
    )
    calibration_percentile: float | None = _argument(
        "share of values inside the range, for the method percentile", above=50, most=100
    )
    per_channel: bool | None = _argument("one weight scale per output channel")
    group_size: int | None = _argument(
        "inputs of a product of precision w4a8 that share a scale; -1 for all of them",
        least=-1,
    )
    method: str | None = _argument(
        "how weights of few bits (w4a8, w8a16, w4a16, w3a16, w2a16, binary) are chosen: rtn: each is "
        "rounded to nearest; gptq: so that the layer's results change least",
        choices=WEIGHT_METHODS,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwitchArguments:
    """Something that is done or not."""

    enabled: bool | None = _argument("false leaves the targets as they are")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BiasCorrectionArguments(SwitchArguments):
    """All that shifts the results, or what rounded weights do alone."""

    of: str | None = _argument(
        "results: the whole mean error, what earlier layers cause included, where it is left out; "
        "weights: what the rounding of the target's own weights causes",
        choices={"results": (), "weights": ()},
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmoothQuantArguments(SwitchArguments):
    """The strength is searched where it is left out."""

    alpha: float | None = _argument(
        "strength from 0 to 1; where it is left out the best one of each region is searched",
        least=0,
        most=1,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightRoundingArguments:
    """Learning needs the calibration samples."""

    method: str | None = _argument(
        "adaround where it is left out", choices=dict.fromkeys(WEIGHT_ROUNDINGS, ())
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoArguments:
    """There is nothing to choose."""


@dataclasses.dataclass(frozen=True)
class RecipePass:
    """One kind of step.

    Attributes:
        name: as recipes have it.
        help: one sentence without a final period.
        arguments: dataclass whose fields have ``ArgumentFacts``.
        apply: settings before, arguments, number of the step -> settings after.
    """

    name: str
    help: str
    arguments: type
    apply: Callable[[LayerSettings, Any, int], LayerSettings]


def arguments_of(kind: RecipePass) -> "list[tuple[dataclasses.Field[Any], ArgumentFacts]]":
    """The arguments of a pass with their facts."""
    return [
        (field, field.metadata["argument"]) for field in dataclasses.fields(kind.arguments)
    ]


def _quantize(before: LayerSettings, given: QuantizeArguments, step: int) -> LayerSettings:
    precision = given.precision or ("w8a8" if before.precision == "fp32" else before.precision)
    changes: dict[str, Any] = {
        name: value
        for name, value in dataclasses.asdict(given).items()
        if value is not None and name != "precision"
    }
    if given.calibration_method or given.calibration_percentile:
        changes["range_step"] = step
    reason = "a step of the recipe says float32" if precision == "fp32" else ""
    return dataclasses.replace(before, precision=precision, reason=reason, **changes)


def _stay_float(before: LayerSettings, _given: NoArguments, _step: int) -> LayerSettings:
    return dataclasses.replace(before, precision="fp32", reason="the recipe leaves it float")


def _correct_bias(
    before: LayerSettings, given: BiasCorrectionArguments, _step: int
) -> LayerSettings:
    enabled, by_weights = given.enabled is not False, given.of == "weights"
    return dataclasses.replace(
        before,
        bias_correction=enabled and not by_weights,
        weight_correction=enabled and by_weights,
    )


def _equalize(before: LayerSettings, given: SwitchArguments, _step: int) -> LayerSettings:
    return dataclasses.replace(before, equalize=given.enabled is not False)


def _smooth(before: LayerSettings, given: SmoothQuantArguments, _step: int) -> LayerSettings:
    strength = SEARCHED if given.alpha is None else str(given.alpha)
    return dataclasses.replace(before, smooth_quant="" if given.enabled is False else strength)


def _round_weights(
    before: LayerSettings, given: WeightRoundingArguments, _step: int
) -> LayerSettings:
    return dataclasses.replace(before, weight_rounding=given.method or "adaround")


#: All passes, in the order that the documentation has them.
PASSES: Sequence[RecipePass] = (
    RecipePass(
        "quantize",
        "store the weights of the targets and the activations that they read in few bits",
        QuantizeArguments,
        _quantize,
    ),
    RecipePass("float", "leave the targets float", NoArguments, _stay_float),
    RecipePass("exclude", "another name of float", NoArguments, _stay_float),
    RecipePass(
        "bias_correction",
        "take the mean error of the targets' results out of their biases",
        BiasCorrectionArguments,
        _correct_bias,
    ),
    RecipePass(
        "equalize",
        "move scales between the targets until their channels reach equally far",
        SwitchArguments,
        _equalize,
    ),
    RecipePass(
        "smooth_quant",
        "move scales of the activations that the targets read into their weights",
        SmoothQuantArguments,
        _smooth,
    ),
    RecipePass(
        "weight_rounding",
        "learn which weights of the targets are rounded up",
        WeightRoundingArguments,
        _round_weights,
    ),
)


def pass_named(name: str) -> RecipePass | None:
    """The pass of a name, which may have dashes."""
    plain = name.replace("-", "_")
    return next((kind for kind in PASSES if kind.name == plain), None)
