"""Prices of models on the target of a budget."""

import dataclasses
from collections.abc import Collection

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.lower.price import price_model
from edgecomp.options import BudgetOptions
from edgecomp.plan.prices import Price
from edgecomp.schedules.cost import Table
from edgecomp.schedules.tuned import table_for
from edgecomp.steps.without import left_out


@dataclasses.dataclass(frozen=True)
class Pricing:
    """How models are priced.

    Attributes:
        target: device; None where none is given, and nothing has a price.
        table: measured times of its kernels.
        without: names of schedules that the build does not use.
    """

    target: Target | None = None
    table: Table | None = None
    without: Collection[str] = ()

    @classmethod
    def of(cls, target: Target | None, options: BudgetOptions) -> "Pricing":
        """As a build with the options chooses kernels."""
        if target is None:
            return cls()
        table = table_for(target, getattr(options, "cost_table", ""))
        return cls(target, table, left_out(options))

    def prices(self, model: ir.Model) -> list[Price]:
        """Of all operations; none without a target.

        Raises:
            EdgecompError: OPERATOR_UNSUPPORTED, DIMENSION_FREE.
        """
        if self.target is None:
            return []
        return price_model(model, self.target, table=self.table, without=self.without)
