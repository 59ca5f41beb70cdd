"""What a pass reports besides ``modified``: how many places, and which it refused and why."""

import dataclasses
import enum
import logging

import onnx_ir as ir

from edgecomp.graph.source import source_of

logger = logging.getLogger(__name__)


class Numerics(enum.Enum):
    """What a pass may do to the numbers; docs/numerics.md has the tolerances."""

    EXACT = "exact"
    REASSOCIATED = "float-reassociated"
    QUANTIZED = "quantized"


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A place that a pass left alone although it looked like its work.

    Attributes:
        node: name of the node.
        reason: why, as the end of a sentence.
        source: ``file.py:line`` of the node, or "".
    """

    node: str
    reason: str
    source: str = ""


@dataclasses.dataclass
class Outcome(ir.passes.PassResult):
    """Result of an edgecomp pass.

    Attributes:
        applied: places rewritten.
        refusals: places left alone, with the reason.
        notes: one line per place for reports, where the count says too little.
    """

    applied: int = 0
    refusals: list[Refusal] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def finish(
    name: str,
    model: ir.Model,
    applied: int,
    refusals: list[Refusal] | None = None,
    notes: list[str] | None = None,
) -> Outcome:
    """Log one line (refusals at debug level) and make the outcome."""
    for refusal in refusals or []:
        logger.debug("%s left %s alone: %s", name, refusal.node, refusal.reason)
    if applied:
        logger.info("%s rewrote %d places", name, applied)
    return Outcome(model, applied > 0, applied, refusals or [], notes or [])


def refuse(node: ir.Node, reason: str) -> Refusal:
    """A refusal at a node."""
    return Refusal(node.name or "", reason, source_of(node))
