"""All operators that can be trained through."""

import onnx_ir as ir

from edgecomp.train.operators import elementwise, moves, products, windows
from edgecomp.train.operators.arguments import Builder, Function
from edgecomp.train.refusal import Unsupported

BUILDERS: dict[str, Builder] = {
    **elementwise.BUILDERS,
    **moves.BUILDERS,
    **products.BUILDERS,
    **windows.BUILDERS,
}


def function_of(node: ir.Node) -> Function:
    """What the node computes.

    Raises:
        Unsupported: nothing that is known here.
    """
    build = BUILDERS.get(node.op_type) if node.domain == "" else None
    if build is None:
        raise Unsupported(f"{node.op_type} is not among the operators that can be trained")
    return build(node)
