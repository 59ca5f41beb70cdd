"""What the precisions of the ladder cost each group of layers: read off models that have them."""

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence

import onnx_ir as ir

from edgecomp.budget.ladder import LADDER, Rung
from edgecomp.budget.problem import Cost, Group, Groups
from edgecomp.errors import EdgecompError
from edgecomp.plan.prices import Price
from edgecomp.steps.beside import operators_of
from edgecomp.steps.budget_prices import Pricing
from edgecomp.steps.debug_trials import Quantized, Trials

logger = logging.getLogger(__name__)

#: Costs that differ by less are the same.
_SAME = 1e-2


@dataclasses.dataclass(frozen=True)
class _Base:
    """What a precision is compared with: the float model, or all that can be in 8 bits.

    Attributes:
        model: of it.
        prices: of a target; empty without one.
    """

    model: ir.Model
    prices: Sequence[Price]


def offer_ladder(
    trials: Trials,
    first: Quantized,
    groups: Groups,
    plain: Sequence[Price],
    pricing: Pricing,
    *,
    bytes_count: bool,
    ladder: Sequence[Rung] = LADDER,
) -> Groups:
    """The groups with the further precisions that are worth trying.

    Args:
        trials: make the models.
        first: all that can be in 8 bits.
        groups: of its layers.
        plain: prices of the float model.
        pricing: says what is gained; without a target only integers are faster.
        bytes_count: whether fewer bytes are worth anything.
        ladder: the precisions, most exact first.
    """
    bases = {
        False: _Base(trials.model, plain),
        True: _Base(first.model, pricing.prices(first.model)),
    }
    known = {node.name or "" for node in trials.model.graph}
    others: list[dict[str, Cost]] = [{} for _ in groups.groups]
    for rung in ladder:
        able = [group for group in groups.groups if _able(trials.model, group, rung, first)]
        if not able:
            continue
        model = _model_of(trials, able, rung)
        try:
            prices = pricing.prices(model)
        except EdgecompError as error:
            logger.info("%s is not offered: %s", rung.precision, error.cause)
            continue
        for group, costs in zip(groups.groups, others, strict=True):
            if group not in able:
                continue
            form = _Base(model, prices)
            cost = _cost(group, rung, bases[rung.is_static], form, known)
            if _is_worth_trying(group, rung, costs, cost, bytes_count=bytes_count):
                costs[rung.precision] = cost
    changed = [
        dataclasses.replace(group, others=costs)
        for group, costs in zip(groups.groups, others, strict=True)
    ]
    return dataclasses.replace(groups, groups=tuple(changed))


def _able(model: ir.Model, group: Group, rung: Rung, first: Quantized) -> bool:
    """Whether a group has products, and all of them can have a precision."""
    products = [
        block.node.name or ""
        for block in first.scope.blocks
        if block.is_product and block.node.name in group.nodes
    ]
    if not products or rung.is_static:
        return bool(products)
    scope = operators_of(model.graph, rung.precision)
    return all(scope.get(name, "no weights") == "" for name in products)


def _model_of(trials: Trials, groups: Sequence[Group], rung: Rung) -> ir.Model:
    """The model in which these groups have a precision, and all others that of its base."""
    names = [name for group in groups for name in group.nodes]
    steps = [{"pass": "quantize", "targets": names, "args": {"precision": rung.precision}}]
    if not rung.is_static:
        steps.insert(0, {"pass": "float"})
    return trials.quantized(steps, quick=True).model


def _cost(group: Group, rung: Rung, base: _Base, form: _Base, known: Collection[str]) -> Cost:
    """Bytes and seconds of one group."""
    size, seconds = group.float_bytes, group.float_seconds
    if rung.is_static:
        size, seconds = group.integer_bytes, group.integer_seconds
    before, now = (_nodes_of(each.model, group, known) for each in (base, form))
    size += _bytes(form.model, now) - _bytes(base.model, before)
    if form.prices:
        earlier = _seconds(base.prices, before)
        seconds *= _seconds(form.prices, now) / earlier if earlier else 1.0
    else:
        seconds = group.float_seconds * rung.time
    return Cost(size, seconds, rung.is_static)


def _nodes_of(model: ir.Model, group: Group, known: Collection[str]) -> set[str]:
    """Names of a group's nodes, and of those in front of them that are not ``known``."""
    nodes = {node.name or "": node for node in model.graph}
    found = {name for name in group.nodes if name in nodes}
    open_nodes = [nodes[name] for name in found]
    while open_nodes:
        for value in open_nodes.pop().inputs:
            maker = None if value is None else value.producer()
            name = "" if maker is None else maker.name or ""
            if maker is not None and name not in known and name not in found:
                found.add(name)
                open_nodes.append(maker)
    return found


def _bytes(model: ir.Model, names: Collection[str]) -> int:
    """Of all constants that nodes read."""
    read = {
        value
        for node in model.graph
        if node.name in names
        for value in node.inputs
        if value is not None and value.const_value is not None
    }
    return sum(value.const_value.nbytes for value in read if value.const_value is not None)


def _seconds(prices: Sequence[Price], names: set[str]) -> float:
    return sum(price.modelled for price in prices if names & set(price.nodes))


def _is_worth_trying(
    group: Group, rung: Rung, costs: Mapping[str, Cost], cost: Cost, *, bytes_count: bool
) -> bool:
    """Whether nothing that is more exact costs as little."""
    exact = [Cost(group.float_bytes, group.float_seconds), *costs.values()]
    if rung.is_static and not rung.is_finer:
        exact.append(Cost(group.integer_bytes, group.integer_seconds, is_static=True))
    return not any(
        each.seconds <= cost.seconds * (1.0 + _SAME)
        and (not bytes_count or each.bytes <= cost.bytes * (1.0 + _SAME))
        for each in exact
    )
