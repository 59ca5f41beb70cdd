"""What a peer's module gives: how its form of a model is made, and how that runs."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

from edgecomp.bench.peers.task import Array, Task


@dataclasses.dataclass(frozen=True)
class Converted:
    """A model in a peer's own form.

    Attributes:
        file: to load.
        form: for people: what was converted and how it was quantized.
    """

    file: str
    form: str


@dataclasses.dataclass(frozen=True)
class Loaded:
    """A model ready to run.

    Attributes:
        version: of the runtime.
        run: one inference on inputs that are in place already.
        fetch: outputs of the last run, in order.
    """

    version: str
    run: Callable[[], object]
    fetch: Callable[[], list[Array]]


class Peer(Protocol):
    """A module of this package named after a runtime."""

    def convert(self, task: Task) -> Converted:
        """Make the runtime's form of the model in the task's folder."""

    def load(self, task: Task) -> Loaded:
        """Open ``task.file`` with ``task.threads`` threads."""
