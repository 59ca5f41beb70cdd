"""What a target with a GPU leaves to its processor, and why."""

import dataclasses
from collections.abc import Collection, Sequence

from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.select import Selected
from edgecomp.plan.operations import Fallback, Operation


@dataclasses.dataclass(frozen=True)
class OnProcessor:
    """Operations that the GPU does not compute.

    Attributes:
        operator: what is computed; "" for the whole model.
        nodes: ONNX nodes.
        source: line of Python of the first.
        reason: why.
        is_chosen: whether the GPU could compute it.
    """

    operator: str
    nodes: tuple[str, ...]
    source: str
    reason: str
    is_chosen: bool = False

    def __str__(self) -> str:
        place = f" at {self.source}" if self.source else ""
        names = f" '{', '.join(self.nodes)}'" if self.nodes else ""
        return f"{self.operator or 'the model'}{names}{place}: {self.reason}"


def processor_part(
    selected: Sequence[Selected], why_all: str, left: Collection[Operation] = ()
) -> list[OnProcessor]:
    """The operations with calls for the processor.

    Args:
        selected: before copies are placed.
        why_all: why the GPU has no part in the model, "" where it has.
        left: operations that the GPU could compute.
    """
    if why_all:
        return [OnProcessor("", (), "", why_all)]
    found = []
    for choice in selected:
        operation = choice.operation
        if any(call.launch is None for call in choice.calls):
            kind = operation.kind
            name = kind.operator if isinstance(kind, Fallback) else type(kind).__name__
            reason = choice.why_on_cpu or "no schedule of the GPU"
            found.append(
                OnProcessor(name, operation.nodes, operation.source, reason, operation in left)
            )
    return found


def require_none_on_processor(part: Sequence[OnProcessor], of_app: str = "") -> None:
    """Refuse a model of which the GPU cannot compute all.

    Args:
        part: what it does not compute.
        of_app: what starts the GPU's calls where that is not the bundle's library.

    Raises:
        EdgecompError: FALLBACK_REFUSED listing what the processor has to compute.
    """
    part = [each for each in part if not each.is_chosen]
    if not part:
        return
    count = f"{len(part)} operation{'s' if len(part) > 1 else ''} "
    head = count + "would run on the processor beside the GPU"
    hint = "build without --require-full-target, or rewrite these operators"
    if of_app:
        head = f"the {of_app} has to compute the whole model, and has no kernels for {count}"
        hint = "rewrite these operators, end the model before them, or --accelerator cpu"
    first = part[0]
    raise EdgecompError(
        Code.FALLBACK_REFUSED,
        "\n  ".join([head, *map(str, part)]),
        node=first.nodes[0] if first.nodes else "",
        source=first.source,
        hint=hint,
    )
