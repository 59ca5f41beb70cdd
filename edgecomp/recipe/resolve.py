"""What a recipe says about every node of a graph."""

import dataclasses
import re
from collections.abc import Sequence

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError, nearest_hint
from edgecomp.recipe.recipe import Recipe, Step
from edgecomp.recipe.settings import LayerSettings

_PATTERN = "re:"


def settings_of(
    graph: ir.Graph, recipe: Recipe, base: LayerSettings
) -> dict[str, LayerSettings]:
    """Settings of every node by its name.

    Args:
        graph: the float model, after the passes that change its nodes; bodies count too.
        recipe: steps in order.
        base: what holds before the first step.

    Raises:
        EdgecompError: RECIPE_INVALID for a target that matches no node.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(graph))
    settings = {node.name or "": base for node in nodes}
    for number, step in enumerate(recipe.steps):
        for name in _targets(nodes, step):
            before = settings[name]
            after = step.kind.apply(before, step.arguments, number)
            if not step.targets and after.reason != before.reason:
                # Said of all nodes it is no reason against what a product computes itself.
                after = dataclasses.replace(after, reason="")
            settings[name] = after
    return settings


def _targets(nodes: Sequence[ir.Node], step: Step) -> list[str]:
    """Names of the nodes that a step is for."""
    chosen = [node.name or "" for node in nodes]
    if step.targets:
        found = {name for target in step.targets for name in _matches(nodes, target, step)}
        chosen = [name for name in chosen if name in found]
    left_out = {name for target in step.ignore for name in _matches(nodes, target, step)}
    return [name for name in chosen if name not in left_out]


def _matches(nodes: Sequence[ir.Node], target: str, step: Step) -> list[str]:
    """Names of the nodes of one target: of that name, else that match, else of that type."""
    if target.startswith(_PATTERN):
        pattern = _compiled(target, step)
        found = [n for n in nodes if pattern.fullmatch(n.name or "")]
    else:
        found = [n for n in nodes if n.name == target]
        found = found or [n for n in nodes if n.op_type == target]
    if not found:
        known = {n.name or "" for n in nodes} | {n.op_type for n in nodes}
        word = target.removeprefix(_PATTERN)
        raise EdgecompError(
            Code.RECIPE_INVALID,
            f"pass '{step.kind.name}': '{target}' matches no node",
            path=step.place,
            hint=nearest_hint(word, known) if _few_or_close(word, known) else _LIST_HINT,
        )
    return [node.name or "" for node in found]


_LIST_HINT = "'edgecomp debug' lists the layers; names are those of the nodes or their types"


def _few_or_close(word: str, known: set[str]) -> bool:
    """Whether the nearest hint names one word, or lists few."""
    return len(known) <= 12 or nearest_hint(word, known).startswith("did you mean")


def _compiled(target: str, step: Step) -> re.Pattern[str]:
    try:
        return re.compile(target[len(_PATTERN) :])
    except re.error as error:
        raise EdgecompError(
            Code.RECIPE_INVALID,
            f"'{target}' is not a regular expression: {error}",
            path=step.place,
            hint="names of nodes are matched as a whole: 're:.*head.*'",
        ) from error
