"""What a precision gains on a target: bytes of weights and time, beside the float model."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.price import price_weights
from edgecomp.passes.layer_prices import total_seconds
from edgecomp.plan.prices import Price
from edgecomp.schedules.cost import Table

#: Parts of the float model's bytes and time below which something is gained: prices are not
#: better than that.
_FEWER_BYTES, _LESS_TIME = 0.95, 0.95


@dataclasses.dataclass(frozen=True)
class Form:
    """A model in one precision.

    Attributes:
        prices: of its operations.
        weight_bytes: of its constants, as kernels read them: in the file and in memory.
    """

    prices: Sequence[Price]
    weight_bytes: int

    @classmethod
    def of(
        cls,
        model: ir.Model,
        target: Target,
        table: Table | None,
        without: Collection[str] = (),
    ) -> "Form":
        """Price a model, which is not changed."""
        return cls(*price_weights(model, target, table=table, without=without))


def gain_facts(precision: str, plain: Form, stored: Form, target: Target) -> Mapping[str, Any]:
    """For the report; times are the processor's, and none is given for a target with a GPU.

    Args:
        precision: of the second form.
        plain: the float model.
        stored: the same in the precision.
        target: that both were priced on.
    """
    byte_part = stored.weight_bytes / max(1, plain.weight_bytes)
    sizes = {
        "float_weight_bytes": plain.weight_bytes,
        "weight_bytes": stored.weight_bytes,
    }
    if target.gpu is not None:
        summary = (
            f"{precision} on {target.name}: weights take {byte_part:.2f} of float's bytes in file "
            "and memory; times on a GPU are not modelled"
        )
        return {"summary": summary, **sizes, "time_over_float": None, "time": "not modelled"}
    seconds, measured = total_seconds({"float": plain.prices, "stored": stored.prices})
    time_part = seconds["stored"] / seconds["float"] if seconds["float"] else 1.0
    how = "measured" if measured else "modelled"
    return {
        "summary": _summary(precision, target.name, byte_part, time_part, how),
        **sizes,
        "time_over_float": round(time_part, 3),
        "time": how,
    }


def _summary(precision: str, target: str, byte_part: float, time_part: float, how: str) -> str:
    gains = []
    if byte_part < _FEWER_BYTES:
        gains.append(f"weights take {byte_part:.2f} of float's bytes in file and memory")
    if time_part < _LESS_TIME:
        gains.append(f"a run takes {time_part:.2f} of float's time ({how})")
    if not gains:
        return (
            f"{precision} gains nothing on {target}: {byte_part:.2f} of float's bytes, "
            f"{time_part:.2f} of its time ({how})"
        )
    if time_part >= _LESS_TIME:
        gains.append(
            f"a run is slower, {time_part:.2f} times float's ({how})"
            if time_part > 1 / _LESS_TIME
            else "a run is not faster"
        )
    return f"{precision} on {target}: {'; '.join(gains)}"
