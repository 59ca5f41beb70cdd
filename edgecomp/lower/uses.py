"""Who makes and who reads each value of a program."""

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from edgecomp.plan.operations import Kind, Operation, Program
from edgecomp.plan.values import Value


class Uses:
    """Producers and consumers, as the program was when this was made.

    Attributes:
        outputs: values the user reads.
    """

    def __init__(self, program: Program) -> None:
        self.outputs = set(program.outputs)
        self._consumers: dict[Value, list[Operation]] = {}
        self._producers: dict[Value, list[Operation]] = {}
        self._position: dict[Operation, int] = {}
        for position, operation in enumerate(program.operations):
            self._position[operation] = position
            for value in operation.inputs:
                self._consumers.setdefault(value, []).append(operation)
            for value in operation.outputs:
                self._producers.setdefault(value, []).append(operation)

    def consumers(self, value: Value) -> list[Operation]:
        """Operations that read the value, once per reading."""
        return self._consumers.get(value, [])

    def producers(self, value: Value) -> list[Operation]:
        """Operations that write the value or parts of it."""
        return self._producers.get(value, [])

    def only_consumer(self, value: Value) -> Operation | None:
        """The operation that alone reads the value, once, and nobody else sees it."""
        readers = self.consumers(value)
        if len(readers) == 1 and value not in self.outputs:
            return readers[0]
        return None

    def absorb(self, gone: Operation, into: Operation) -> None:
        """Note that ``into`` now reads what ``gone`` did, and ``gone`` will be removed."""
        for value in gone.inputs:
            readers = self._consumers[value]
            readers[:] = [into if reader is gone else reader for reader in readers]
        for value in gone.outputs:
            self._consumers.pop(value, None)
            self._producers.pop(value, None)

    def position(self, operation: Operation) -> int:
        """Index in the program."""
        return self._position[operation]

    def written_before(self, value: Value, operation: Operation) -> bool:
        """Whether the value is complete when ``operation`` runs."""
        here = self._position[operation]
        return all(self._position[p] < here for p in self.producers(value))


def replace(program: Program, gone: Iterable[Operation]) -> None:
    """Remove operations."""
    dead = set(gone)
    program.operations = [o for o in program.operations if o not in dead]


@dataclasses.dataclass(frozen=True)
class Fused:
    """An operation, and those that it stands for, in order."""

    operation: Operation
    parts: tuple[Operation, ...]


def exchanged(
    program: Program, made: Mapping[Operation, Operation], gone: Collection[Operation]
) -> Program:
    """The program with operations in the place of others; itself where nothing was made.

    Args:
        program: stays as it is.
        made: what stands in an operation's place.
        gone: that are left out, unless something stands in their place.
    """
    if not made:
        return program
    kept = [made.get(o, o) for o in program.operations if o in made or o not in gone]
    return dataclasses.replace(program, operations=kept)


def drop_unread(program: Program, kind: type[Kind]) -> None:
    """Remove operations of a kind whose result nobody reads, and those that only they read."""
    read = Counter(value for o in program.operations for value in o.inputs)
    read.update(program.outputs)
    kept = []
    for operation in reversed(program.operations):
        if isinstance(operation.kind, kind) and not any(read[o] for o in operation.outputs):
            read.subtract(operation.inputs)
        else:
            kept.append(operation)
    program.operations = kept[::-1]
