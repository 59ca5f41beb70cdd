"""Copies that would put every element where it is already become other names of the memory.

A transpose to channels last of an NHWC image, or back, moves nothing: the row-major [N, H, W, C]
and the NHWC [N, C, H, W] are the same bytes where there is no halo.
"""

from edgecomp.lower.uses import Uses
from edgecomp.plan.movement import Reinterpret, StridedCopy
from edgecomp.plan.operations import Program
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu.strided_copy import space_of


def alias_copies(program: Program) -> None:
    """Replace copies of whole values onto the same addresses; orders and halos are final."""
    uses = Uses(program)
    user_values = {*program.inputs, *program.outputs}
    for operation in program.operations:
        kind = operation.kind
        if not isinstance(kind, StridedCopy) or kind.lookup is not None:
            continue
        (x,), y = operation.inputs, operation.output
        # A port has memory of its own: what enters may not be written, what leaves must be.
        if x.constant is not None or y in user_values or len(uses.producers(y)) > 1:
            continue
        if x.dtype == y.dtype and _same_places(kind, x, y):
            operation.kind = Reinterpret()


def _same_places(kind: StridedCopy, x: Value, y: Value) -> bool:
    if not x.elements or x.view.elements != y.view.elements or x.elements != y.elements:
        return False
    if x.view.elements != x.elements or x.part_of is not None or y.part_of is not None:
        return False
    space = space_of(kind, x, y)
    return (
        space.sizes == (x.elements,)
        and space.strides == ((1,), (1,))
        and not any(space.offsets)
    )
