"""Prices of operations summed up: of layers, and of whole models, each in several forms.

Measured times are only compared with measured ones; where both kinds meet, modelled seconds are
scaled by what the model was off where something was measured.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from edgecomp.plan.prices import Price


@dataclasses.dataclass
class PriceSum:
    """Prices of one form of a layer or a model.

    Attributes:
        modelled: seconds by the model alone, scaled.
        known: with what was measured in place of what the model says.
        measured: whether anything was.
    """

    modelled: float = 0.0
    known: float = 0.0
    measured: bool = False

    def add(self, price: Price, scale: float) -> None:
        """Add an operation, whose modelled seconds are multiplied by ``scale``."""
        modelled = price.modelled * scale
        self.modelled += modelled
        self.known += modelled if price.measured is None else price.measured
        self.measured = self.measured or price.measured is not None


def measured_scale(prices: Iterable[Price]) -> float:
    """What modelled seconds are multiplied by to stand beside measured ones."""
    both = [p for p in prices if p.measured is not None]
    modelled = sum(p.modelled for p in both)
    return sum(p.measured or 0.0 for p in both) / modelled if modelled else 1.0


def total_seconds(forms: Mapping[str, Sequence[Price]]) -> tuple[dict[str, float], bool]:
    """Time of each form of a model, and whether measurements are in it.

    They are where every form has some: a form that was not measured would otherwise be
    compared with one that was.
    """
    scale = measured_scale(p for prices in forms.values() for p in prices)
    sums = {form: PriceSum() for form in forms}
    for form, prices in forms.items():
        for price in prices:
            sums[form].add(price, scale)
    measured = all(total.measured for total in sums.values())
    return {f: s.known if measured else s.modelled for f, s in sums.items()}, measured


@dataclasses.dataclass(frozen=True)
class LayerPrice:
    """Seconds of a layer in either form; measured where both forms were."""

    plain: float
    integer: float
    measured: bool

    @classmethod
    def of(cls, plain: PriceSum, integer: PriceSum) -> "LayerPrice":
        """From the sums of the operations."""
        if plain.measured and integer.measured:
            return cls(plain.known, integer.known, measured=True)
        return cls(plain.modelled, integer.modelled, measured=False)
