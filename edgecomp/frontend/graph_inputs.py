"""Graph inputs by the names that a user gives."""

from collections.abc import Iterable

import onnx_ir as ir

from edgecomp.errors import Code, EdgecompError, nearest_hint


def named_inputs(model: ir.Model, names: Iterable[str], what: str) -> dict[str, ir.Value]:
    """All graph inputs by name.

    Args:
        model: whose inputs.
        names: those that a user speaks of.
        what: the user says with them: ``--input``.

    Raises:
        EdgecompError: USAGE for a name that no input has.
    """
    by_name = {value.name or "": value for value in model.graph.inputs}
    for name in names:
        if name not in by_name:
            raise EdgecompError(
                Code.USAGE,
                f"{what} {name}: the model has no such input",
                node=name,
                hint=nearest_hint(name, by_name),
            )
    return by_name
