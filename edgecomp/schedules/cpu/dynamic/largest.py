"""An operation at the largest sizes, for schedules whose kernels are the same at any size."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import Dimension, Size, largest, largest_shape
from edgecomp.plan.values import Value
from edgecomp.schedules.schedule import Constant, Dynamic, KernelCall


class Twin:
    """A static operation in the place of a dynamic one, and the way back.

    Attributes:
        operation: the static one.
    """

    def __init__(self, dynamic: Operation, leading: int | None = None) -> None:
        """All dimensions at their largest.

        Args:
            dynamic: operation.
            leading: first dimension of all values but constants, their own where None.
        """
        self._origin: dict[Value, Value] = {}
        self._twins: dict[Value, Value] = {}
        self._leading = leading
        self.operation = Operation(
            at_largest(dynamic.kind, leading),
            [self._twin(value) for value in dynamic.inputs],
            [self._twin(value) for value in dynamic.outputs],
            dynamic.nodes,
            dynamic.source,
        )

    def twins_of(self, values: Iterable[Value]) -> list[Value]:
        """What stands for values, those of other operations left out."""
        return [self._twins[value] for value in values if value in self._twins]

    def restore(self, call: KernelCall, dynamic: Dynamic) -> KernelCall:
        """The call on the dynamic operation's values.

        The bound of ``(h - 2) * (w - 2)`` work items, term by term, is above those of the static
        call: the runtime, which has no other, holds the call to it.
        """
        arguments = tuple(
            argument
            if isinstance(argument, Constant)
            else self._origin.get(argument, argument)
            for argument in call.arguments
        )
        work_items = call.work_items
        if not dynamic.strides:
            work_items = largest(dynamic.items) // dynamic.divisor
        return dataclasses.replace(
            call, arguments=arguments, work_items=work_items, progress=None, dynamic=dynamic
        )

    def _twin(self, value: Value) -> Value:
        if value in self._twins:
            return self._twins[value]
        shape = largest_shape(value.shape)
        if self._leading is not None and value.constant is None:
            shape = (self._leading, *shape[1:])
        twin = dataclasses.replace(value, shape=shape, alias_of=None)
        if value.part_of is not None:
            twin.part_of = self._twin(value.part_of)
        self._origin[twin], self._twins[value] = value, twin
        return twin


def at_largest(field: Any, leading: int | None = None) -> Any:
    """A kind without dynamic numbers; ``leading`` in the place of those, where given."""
    if isinstance(field, Size):
        return largest(field) if leading is None else leading
    if isinstance(field, tuple):
        return tuple(at_largest(each, leading) for each in field)
    if dataclasses.is_dataclass(field) and not isinstance(field, type):
        changes = {
            f.name: at_largest(getattr(field, f.name), leading)
            for f in dataclasses.fields(field)
        }
        return dataclasses.replace(field, **changes)
    return field


def items_of(dimensions: Sequence[Dimension]) -> Dimension:
    """Product of dimensions."""
    total: Dimension = 1
    for dimension in dimensions:
        total = total * dimension
    return total
