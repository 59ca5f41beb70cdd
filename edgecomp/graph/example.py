"""The example inputs that a traced model came with: known in the process, in no file."""

from collections.abc import Mapping

import onnx_ir as ir

from edgecomp.graph.constants import AnyArray

_KEY = "edgecomp.example_feeds"


def set_example_feeds(model: ir.Model, feeds: Mapping[str, AnyArray]) -> None:
    """Note example inputs by the names of graph inputs."""
    model.meta[_KEY] = dict(feeds)


def example_feeds(model: ir.Model) -> Mapping[str, AnyArray]:
    """What was noted, or nothing."""
    known: Mapping[str, AnyArray] = model.meta.get(_KEY, {})
    return known
