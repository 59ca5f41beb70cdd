"""Branches and loops become ranges of one list of operations.

    Branch(c, then, else)   =>   [c: then's operations][not c: else's operations]
    Loop(body, first)       =>   first -> carried, [rounds: body's operations, next -> carried]

What a branch returns is written straight into the result's memory. What a loop carries has one
memory for all rounds: the next contents are made beside it and copied at the end of the round, or
written straight into it where nothing in the body reads the old contents any more.
"""

import dataclasses

import numpy as np

from edgecomp.plan.movement import Reinterpret, StridedCopy
from edgecomp.plan.operations import Branch, Loop, Operation, Program
from edgecomp.plan.plan import RegionKind
from edgecomp.plan.values import Order, Value


@dataclasses.dataclass(frozen=True)
class Region:
    """Operations [first, end) that do not simply run once; see ``PlanRegion``."""

    kind: RegionKind
    first: int
    end: int
    condition: Value | None
    expected: bool = True
    limit: Value | None = None
    counter: Value | None = None
    most_rounds: int = 0


def flatten(program: Program) -> list[Region]:
    """Put the operations of all bodies into the program, whose layout is final.

    Returns:
        Regions by their first operations, outer ones before inner ones.
    """
    flat = _Flat()
    flat.add(program)
    program.operations = flat.operations
    return flat.finished()


class _Flat:
    """Operations and regions so far; a region is None while its operations are added."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.regions: list[Region | None] = []

    def finished(self) -> list[Region]:
        return [region for region in self.regions if region and region.first < region.end]

    def add(self, program: Program) -> None:
        """Append what a program does."""
        for operation in program.operations:
            if isinstance(operation.kind, Reinterpret):
                operation.output.alias_of = operation.inputs[0]
            if isinstance(operation.kind, Branch):
                self._add_branch(operation, operation.kind)
            elif isinstance(operation.kind, Loop):
                self._add_loop(operation, operation.kind)
            else:
                self.operations.append(operation)

    def _add_branch(self, operation: Operation, kind: Branch) -> None:
        condition, *read = operation.inputs
        is_required = None in kind.bodies
        for body, expected in zip(kind.bodies, (True, False), strict=True):
            if body is None:
                continue
            number, first = len(self.regions), len(self.operations)
            self.regions.append(None)
            _stand_in(body.inputs, read)
            self.add(body)
            own = self._written_since(first)
            for value, result in zip(body.outputs, operation.outputs, strict=True):
                root = _root(value)
                if root in own and _same_memory(root, result):
                    root.alias_of = result
                    own.remove(root)
                else:
                    self._copy(value, result, operation)
            named = RegionKind.REQUIRED if is_required else RegionKind.BRANCH
            self.regions[number] = Region(
                named, first, len(self.operations), condition, expected
            )

    def _add_loop(self, operation: Operation, kind: Loop) -> None:
        given = list(operation.inputs)
        limit = given.pop(0) if kind.has_limit else None
        condition = given.pop(0) if kind.has_start else None
        carried, joined = operation.outputs[: kind.carried], operation.outputs[kind.carried :]
        for value, result in zip(given, carried, strict=False):
            self._copy(value, result, operation)
        if kind.has_next:
            condition = self._first_condition(condition, operation)
        number, first = len(self.regions), len(self.operations)
        self.regions.append(None)
        inside = list(kind.body.inputs)
        counter = inside.pop(0) if kind.has_counter else None
        _stand_in(inside, [*carried, *given[kind.carried :]])
        self.add(kind.body)
        after = list(kind.body.outputs)
        following: list[tuple[Value, Value | None]] = []
        if kind.has_next:
            following.append((after.pop(0), condition))
        following += zip(after, carried, strict=False)
        for value, result in zip(after[kind.carried :], joined, strict=True):
            value.alias_of = result
        end_of_body = len(self.operations)
        for value, place in following:
            assert place is not None
            if not self._write_through(value, place, first, end_of_body):
                self._copy(value, place, operation)
        self.regions[number] = Region(
            RegionKind.LOOP,
            first,
            len(self.operations),
            condition,
            limit=limit,
            counter=counter,
            most_rounds=kind.most_rounds,
        )

    def _first_condition(self, given: Value | None, operation: Operation) -> Value:
        """Memory of the condition, which each round writes again."""
        condition = Value(f"{operation.outputs[0].name}.goes_on", (), "bool")
        if given is None:
            given = Value("true", (), "bool", constant=np.array(True))
        self._copy(given, condition, operation)
        return condition

    def _write_through(self, value: Value, carried: Value, first: int, end: int) -> bool:
        """Let the next contents be written where the old ones are, if nobody needs those then."""
        root = _root(value)
        if root not in self._written_since(first) or not _same_memory(root, carried):
            return False
        written = read = -1
        for position in range(first, end):
            operation = self.operations[position]
            if written < 0 and any(_root(each) is root for each in operation.outputs):
                written = position
            if any(_root(each) is carried for each in operation.inputs):
                read = position
        if read >= written:
            return False
        root.alias_of = carried
        return True

    def _written_since(self, first: int) -> set[Value]:
        """Values with memory of their own that operations from ``first`` on write."""
        return {
            value
            for operation in self.operations[first:]
            for value in operation.outputs
            if value.alias_of is None and value.part_of is None
        }

    def _copy(self, value: Value, result: Value, operation: Operation) -> None:
        if not result.elements:
            return
        rank = len(result.shape)
        zeros, ones = (0,) * rank, (1,) * rank
        kind = StridedCopy(result.shape, tuple(range(rank)), zeros, ones, zeros, ones)
        if value.shape != result.shape:  # a condition as a scalar or as a list of one
            value = _reshaped(value, result.shape)
        self.operations.append(
            Operation(kind, [value], [result], operation.nodes, operation.source)
        )


def _reshaped(value: Value, shape: tuple[int, ...]) -> Value:
    """The same memory under another shape."""
    if value.constant is not None:
        return dataclasses.replace(value, shape=shape, constant=value.constant.reshape(shape))
    return Value(f"{value.name}.view", shape, value.dtype, alias_of=value)


def _stand_in(inside: list[Value], outside: list[Value]) -> None:
    for value, actual in zip(inside, outside, strict=True):
        value.alias_of = actual


def _root(value: Value) -> Value:
    """The value whose memory it is."""
    while (below := value.alias_of or value.part_of) is not None:
        value = below
    return value


def _same_memory(value: Value, result: Value) -> bool:
    """Whether a value can lie where a result does."""
    return (
        value.order is Order.ROW_MAJOR
        and value.constant is None
        and value.dtype == result.dtype
        and value.bytes == result.bytes
    )
