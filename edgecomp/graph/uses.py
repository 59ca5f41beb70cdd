"""Whether anything reads a value."""

import onnx_ir as ir


def is_used(value: ir.Value) -> bool:
    """Whether a node reads the value or the graph returns it."""
    return bool(value.uses()) or value.is_graph_output()
