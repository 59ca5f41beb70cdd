"""Layers whose weights alone may be stored in few bits, and what a target gains by it."""

from collections.abc import Callable, Sequence

import onnx_ir as ir

from edgecomp.budget.few_bits import time_ratio, with_few_bits
from edgecomp.budget.problem import Group, Groups
from edgecomp.compress.grid import WeightForm
from edgecomp.compress.weight_layers import store_layers
from edgecomp.device.target import Target
from edgecomp.graph.packed_weights import weight_matrix
from edgecomp.lower.price import price_model
from edgecomp.options import WEIGHT_BITS
from edgecomp.passes.store_weights import StoreWeightsPass
from edgecomp.passes.weight_scope import few_bit_products
from edgecomp.plan.prices import Price
from edgecomp.schedules.cost import Table
from edgecomp.steps.beside import GROUP

#: Precisions that are offered: the second only where bytes are short.
FEW_BITS = ("w8a16", "w4a16")


def offer_few_bits(
    model: ir.Model,
    groups: Groups,
    precisions: Sequence[str],
    plain: Sequence[Price],
    target: Target | None,
    table: Table | None,
) -> Groups:
    """The groups with the further forms that their products can have.

    Args:
        model: float.
        groups: of its layers.
        precisions: of ``FEW_BITS``.
        plain: prices of the float model.
        target: whose prices say what is gained; without one nothing is.
        table: measured times of its kernels.
    """
    possible = [name for name, reason in few_bit_products(model.graph).items() if not reason]
    nodes = {node.name or "": node for node in model.graph}
    products = [nodes[name] for name in possible]
    if not products:
        return groups
    matrices = {node.name or "": weight_matrix(node).shape for node in products}
    shapes = {name: (shape[0], shape[1]) for name, shape in matrices.items()}
    time: Callable[[str, Group], float] = _as_float
    if target is not None:
        packed = {}
        for precision in precisions:
            form = WeightForm(
                bits=WEIGHT_BITS[precision], group=GROUP, symmetric=True, ranges="minmax"
            )
            stored = store_layers(model, products, form)
            copy = model.clone()
            StoreWeightsPass({name: each.weights for name, each in stored.items()})(copy)
            packed[precision] = price_model(copy, target, table=table)
        time = time_ratio(plain, packed)
    return with_few_bits(groups, shapes, precisions, time, GROUP)


def _as_float(_precision: str, _group: Group) -> float:
    return 1.0
