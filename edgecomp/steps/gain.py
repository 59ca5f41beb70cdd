"""What a precision gains on a target beside the float model: bytes of weights, memory and time."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.errors import EdgecompError
from edgecomp.lower.memory import arena_bytes
from edgecomp.lower.price import price_weights
from edgecomp.options import BuildOptions, QuantizeOptions
from edgecomp.passes.layer_prices import total_seconds
from edgecomp.plan.prices import Price
from edgecomp.schedules.cost_table import CostTable
from edgecomp.steps.dynamic import symbols_of
from edgecomp.steps.without import left_out

#: Parts of the float model's bytes and time below which something is gained: prices are not
#: better than that.
_FEWER_BYTES, _LESS_TIME = 0.95, 0.95


@dataclasses.dataclass(frozen=True)
class Form:
    """A model in one precision.

    Attributes:
        prices: of its operations.
        weight_bytes: of its constants, as kernels read them: in the file and in memory.
        arena_bytes: of its activations in a run; None where that is not known.
        why_no_arena: why.
    """

    prices: Sequence[Price]
    weight_bytes: int
    arena_bytes: int | None = None
    why_no_arena: str = "no plan was made"


def float_form(
    model: ir.Model, target: Target, options: QuantizeOptions, table: CostTable | None
) -> Form:
    """Price a float model, and plan its memory where a build goes on to a plan."""
    form = stored_form(model, target, options, table)
    if not isinstance(options, BuildOptions):
        return form
    if symbols_of(model):
        return dataclasses.replace(form, why_no_arena="dimensions differ from run to run")
    try:
        size = arena_bytes(
            model,
            target,
            without=left_out(options),
            table=table,
            accelerators=options.accelerators,
        )
    except EdgecompError as error:  # what is built need not be possible in float
        return dataclasses.replace(form, why_no_arena=f"not in float: {error.cause}")
    return dataclasses.replace(form, arena_bytes=size)


def stored_form(
    model: ir.Model, target: Target, options: QuantizeOptions, table: CostTable | None
) -> Form:
    """Price a model, which is not changed."""
    without = left_out(options)
    return Form(*price_weights(model, target, table=table, without=without))


@dataclasses.dataclass(frozen=True)
class Gain:
    """Two forms of a model on a target.

    Attributes:
        precision: of the second form, or what gave it several.
        target: name of the target.
        on_gpu: whether its GPU computes; times are the processor's, and none is given then.
        plain: the float model.
        stored: the same in the precision.
    """

    precision: str
    target: str
    on_gpu: bool
    plain: Form
    stored: Form

    def with_arena(self, size: int) -> "Gain":
        """When the second form's plan is there."""
        return dataclasses.replace(
            self, stored=dataclasses.replace(self.stored, arena_bytes=size)
        )

    def facts(self) -> dict[str, Any]:
        """For the report."""
        arenas = (self.plain.arena_bytes, self.stored.arena_bytes)
        facts: dict[str, Any] = {
            "float_weight_bytes": self.plain.weight_bytes,
            "weight_bytes": self.stored.weight_bytes,
            "float_arena_bytes": arenas[0],
            "arena_bytes": arenas[1],
            "time_over_float": None,
            "time": "not modelled",
        }
        if arenas[0] is None:
            facts["no_float_arena"] = self.plain.why_no_arena
        time = None
        if not self.on_gpu:
            seconds, measured = total_seconds(
                {"float": self.plain.prices, "stored": self.stored.prices}
            )
            time = seconds["stored"] / seconds["float"] if seconds["float"] else 1.0
            facts["time_over_float"] = round(time, 3)
            facts["time"] = "measured" if measured else "modelled"
        return {"summary": self._summary(time, facts["time"]), **facts}

    def _summary(self, time: float | None, how: str) -> str:
        """In a sentence.

        Args:
            time: of a run over float's; None where it is not known.
            how: it is known.
        """
        weights = self.stored.weight_bytes / max(1, self.plain.weight_bytes)
        arena = self._arena()
        gains = []
        if weights < _FEWER_BYTES or self.on_gpu:
            gains.append(f"weights take {weights:.2f} of float's bytes in file and memory")
        if arena is not None and (arena < _FEWER_BYTES or arena > 1 / _FEWER_BYTES):
            gains.append(f"activations {arena:.2f} of its memory")
        is_less = min(weights, 1.0 if arena is None else arena) < _FEWER_BYTES
        if time is None:
            gains.append("times on a GPU are not modelled")
        elif not is_less and time >= _LESS_TIME:
            return (
                f"{self.precision} gains nothing on {self.target}: {weights:.2f} of float's bytes, "
                f"{time:.2f} of its time ({how})"
            )
        else:
            gains.append(_time_text(time, how))
        return f"{self.precision} on {self.target}: {'; '.join(gains)}"

    def _arena(self) -> float | None:
        if self.plain.arena_bytes is None or self.stored.arena_bytes is None:
            return None
        return self.stored.arena_bytes / max(1, self.plain.arena_bytes)


def _time_text(time: float, how: str) -> str:
    if time < _LESS_TIME:
        return f"a run takes {time:.2f} of float's time ({how})"
    if time > 1 / _LESS_TIME:
        return f"a run is slower, {time:.2f} times float's ({how})"
    return "a run is not faster"
