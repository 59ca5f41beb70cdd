"""Functions given as LLVM's text, for ``KernelBuilder.call_llvm``."""

from collections.abc import Sequence


def llvm_function(name: str, parameters: str, lines: Sequence[str]) -> str:
    """A function without result that is always inlined.

    Args:
        name: unique per contents.
        parameters: with their types.
        lines: of its body.
    """
    body = "\n  ".join([*lines, "ret void"])
    return (
        f"define internal void @{name}({parameters}) alwaysinline nounwind {{\n  {body}\n}}\n"
    )
