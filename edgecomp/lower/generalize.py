"""Programs of one model at several sizes to one program for all sizes.

    MatrixMultiply [1, 512, 384]   [1, 187, 384]   [1, 311, 384]  ->  [1, length, 384]

What the model does at the largest sizes is the program; every number that differs in the others
becomes an expression of the symbols. Operations, their order and everything else has to be the
same at all sizes: a model that takes other ways at other sizes is refused. Constants are those of
the largest sizes; at the others they have to begin alike, at index 0 of every dimension (numbers of
positions, causal masks). A few numbers that are expressions of the symbols (the shape of a
value, taken as data) are written by an operation of their own.
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.integer import average_multiplier
from edgecomp.lower.fit_size import SizeFit, Sizes
from edgecomp.lower.flatten import Region
from edgecomp.lower.program import LaidOut
from edgecomp.lower.window_sizes import window_extents
from edgecomp.plan.counting import Sizes as SizeList
from edgecomp.plan.movement import (
    FillHalo,
    Gather,
    GatherParts,
    Reinterpret,
    Resize,
    StridedCopy,
)
from edgecomp.plan.operations import Fallback, Operation, Program, counted_symbol
from edgecomp.plan.products import Convolution
from edgecomp.plan.reductions import Pool, Reduce
from edgecomp.plan.sizes import Dimension, has_dynamic, is_dynamic, largest, symbols_of
from edgecomp.plan.values import Array, Value


@dataclasses.dataclass(frozen=True)
class Seen:
    """A program and the sizes it is for."""

    sizes: Sizes
    made: LaidOut

    @property
    def program(self) -> Program:
        """Its operations."""
        return self.made.program


#: Numbers of a constant that may depend on the size.
_MOST_NUMBERS = 32

_FALLBACK = "{} has no schedule, and the fallback compiles for one size"


class Constants:
    """Contents of constants of several programs, each kept once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[int, ...], bytes], Array] = {}

    def share(self, program: Program) -> None:
        """Let a program's constants be those of the programs before where they are equal."""
        values = {v: None for operation in program.operations for v in operation.inputs}
        for value in values:
            if value.constant is not None:
                array = value.constant
                digest = hashlib.sha256(array.tobytes()).digest()
                key = (array.dtype.name, array.shape, digest)
                value.constant = self._known.setdefault(key, array)


class _DiffersError(Exception):
    """Two programs do other things; the text says what."""


def generalize(seen: Sequence[Seen]) -> None:
    """Put expressions into the first program, which is that of the largest sizes.

    Args:
        seen: in the same layout; only the first one is changed.

    Raises:
        EdgecompError: DIMENSION_FREE naming the first operation that cannot be generalized.
    """
    base, *others = seen
    matches = [_Match(base.made, other.made) for other in others]
    fit = SizeFit([entry.sizes for entry in seen])
    operations = base.program.operations
    twins = [
        _named(operation, _twins, number, matches)
        for number, operation in enumerate(operations)
    ]
    for value in base.program.inputs:
        _generalize_value(value, matches, fit)
    # Values in their order, each from the one before: sizes of images are quotients of quotients.
    for operation, others_of in zip(operations, twins, strict=True):
        for value in operation.inputs:
            _named(operation, _generalize_value, value, matches, fit)
        if isinstance(operation.kind, FillHalo):
            continue  # the image's producer follows, which knows how large a window makes it
        known = _known_extents(operation, others_of, fit)
        fit.near = _extents_of(operation.inputs)
        for value in operation.outputs:
            _named(operation, _generalize_value, value, matches, fit, known)
        fit.near = ()
    for operation, others_of in zip(operations, twins, strict=True):
        fit.near = _extents_of((*operation.inputs, *operation.outputs))
        _named(operation, _generalize_kind, operation, others_of, fit)
    fit.near = ()
    for value in base.program.outputs:
        _generalize_value(value, matches, fit)
    lists = _lists(operations, matches, fit)
    _require_fixed_regions(base.made)
    for value, operation in lists.items():
        _insert_before_use(base.made, value, operation)
    for operation in [*operations]:
        if isinstance(operation.kind, Gather | GatherParts | Reinterpret):
            _join_parts(base.made, operation)


def _extents_of(values: Iterable[Value]) -> set[Dimension]:
    """Those that differ from run to run."""
    return {extent for value in values for extent in value.shape if is_dynamic(extent)}


def _known_extents(
    operation: Operation, twins: Sequence[Operation], fit: SizeFit
) -> dict[int, Dimension]:
    """Extents of the only output by their place: as a window makes them, or an input has them."""
    known: dict[int, Dimension] = {}
    for axis, numbers, size in window_extents(operation, twins):
        fit.propose(numbers, size)
        if axis not in known and fit.gives(size, numbers):
            known[axis] = size
    kind, outputs = operation.kind, [each.outputs[0] for each in (operation, *twins)]
    rank = len(outputs[0].shape)
    moves = isinstance(kind, StridedCopy) and kind.permutation != tuple(range(rank))
    for value in operation.inputs:
        if moves or len(operation.outputs) != 1 or len(value.shape) != rank:
            continue
        for axis, extent in enumerate(value.shape):
            if is_dynamic(extent) and fit.gives(extent, [o.shape[axis] for o in outputs]):
                known.setdefault(axis, extent)
    for size in known.values():
        fit.note(size)
    return known


def _lists(
    operations: Sequence[Operation], matches: "Sequence[_Match]", fit: SizeFit
) -> dict[Value, Operation]:
    """Operations that write the constants whose contents are expressions."""
    lists: dict[Value, Operation] = {}
    for operation in operations:
        for value in (*operation.inputs, *operation.outputs):
            if value in lists:
                continue
            numbers = _named(operation, _numbers, value, matches, fit)
            if numbers is not None:
                value.constant = None
                kind = SizeList(numbers)
                lists[value] = Operation(kind, [], [value], *_origin(operation))
    return lists


def _require_fixed_regions(made: LaidOut) -> None:
    """Branches and loops have fixed sizes; those beside them may be dynamic."""
    for region in made.regions:
        for operation in made.program.operations[region.first : region.end]:
            values = (*operation.inputs, *operation.outputs)
            if counted_symbol(operation) or any(has_dynamic(v.shape) for v in values):
                raise _refusal(operation, "it lies in a branch or a loop")


def _named(operation: Operation, step: Callable[..., Any], *arguments: Any) -> Any:
    """A step's result; what differs is said with the operation."""
    try:
        return step(*arguments)
    except _DiffersError as error:
        raise _refusal(operation, str(error)) from None


def _twins(number: int, matches: "Sequence[_Match]") -> list[Operation]:
    return [match.operation(number) for match in matches]


def _generalize_kind(operation: Operation, twins: Sequence[Operation], fit: SizeFit) -> None:
    if isinstance(operation.kind, Resize):
        _require_same_resize(operation, twins)
        return
    kinds = [operation.kind, *(twin.kind for twin in twins)]
    if all(map(_is_mean, (operation, *twins))):
        kinds = [_with_multiplier(kind, operation.kind) for kind in kinds]
    operation.kind = _joined(_alike_pads(kinds), fit)


def _with_multiplier(mean: Any, other: Any) -> Any:
    """A mean with the multiplier of another one."""
    multiplier = other.requantize.multiplier
    requantize = dataclasses.replace(mean.requantize, multiplier=multiplier)
    return dataclasses.replace(mean, requantize=requantize)


def _is_mean(operation: Operation) -> bool:
    """Whether a multiplier is that of the mean of 8-bit values, which kernels can compute."""
    kind = operation.kind
    if not isinstance(kind, Reduce) or kind.requantize is None:
        return False
    (x,), output = operation.inputs, operation.output
    if x.quantization is None or output.quantization is None:
        return False
    count = math.prod(largest(x.shape[axis]) for axis in kind.axes)
    mean = average_multiplier(x.quantization.scale, count, output.quantization.scale)
    return np.array_equal(mean.reshape(-1), kind.requantize.multiplier.reshape(-1))


class _Match:
    """Which value of another program is the twin of a value of the first."""

    def __init__(self, base_made: LaidOut, other_made: LaidOut) -> None:
        self.base, self.other = base, other = base_made.program, other_made.program
        self.twins: dict[Value, Value] = {}
        if len(base.operations) != len(other.operations):
            first = next(
                (
                    a
                    for a, b in zip(base.operations, other.operations, strict=False)
                    if type(a.kind) is not type(b.kind) or a.nodes != b.nodes
                ),
                base.operations[-1],
            )
            raise _refusal(first, "at other sizes the model has other operations")
        for a, b in zip(base.inputs, other.inputs, strict=True):
            self._pair(a, b)
        for a, b in zip(base.outputs, other.outputs, strict=True):
            self._pair(a, b)
        self._regions(base_made.regions, other_made.regions)

    def _regions(self, base: Sequence[Region], other: Sequence[Region]) -> None:
        """Branches and loops have to be the same."""
        for a, b in zip(base, other, strict=False):
            given = [(r.kind, r.first, r.end, r.expected, r.most_rounds) for r in (a, b)]
            values = [(r.condition, r.limit, r.counter) for r in (a, b)]
            absent = [[value is None for value in each] for each in values]
            if given[0] != given[1] or len(base) != len(other) or absent[0] != absent[1]:
                first = self.base.operations[a.first]
                raise _refusal(first, "at other sizes it is another branch or loop")
            for x, y in zip(*values, strict=True):
                if x is not None and y is not None:
                    self._pair(x, y)

    def operation(self, number: int) -> Operation:
        """The twin of an operation, after looking at how it is connected."""
        a, b = self.base.operations[number], self.other.operations[number]
        if type(a.kind) is not type(b.kind):
            raise _DiffersError(f"at other sizes it is a {type(b.kind).__name__}")
        if len(a.inputs) != len(b.inputs) or len(a.outputs) != len(b.outputs):
            raise _DiffersError("at other sizes it has other inputs")
        for x, y in zip((*a.inputs, *a.outputs), (*b.inputs, *b.outputs), strict=True):
            self._pair(x, y)
        return b

    def _pair(self, a: Value, b: Value) -> None:
        if self.twins.setdefault(a, b) is not b:
            raise _DiffersError("at other sizes it is connected in another way")
        facts = [
            (v.dtype, v.order, v.quantization, v.first_channel, len(v.shape)) for v in (a, b)
        ]
        kept = [(v.constant is None, v.part_of is None) for v in (a, b)]
        if facts[0] != facts[1] or kept[0] != kept[1]:
            raise _DiffersError(f"at other sizes '{a.name}' is stored in another way")
        # Windows with strides may reach further at one size than at another.
        a.halo = a.halo.union(b.halo)
        if a.part_of is not None and b.part_of is not None:
            self._pair(a.part_of, b.part_of)


def _generalize_value(
    value: Value,
    matches: Sequence[_Match],
    fit: SizeFit,
    known: Mapping[int, Dimension] = MappingProxyType({}),
) -> None:
    twins = [match.twins[value] for match in matches]
    shapes = [twin.shape for twin in twins]
    if all(shape == value.shape for shape in shapes):
        return
    if not any(isinstance(extent, int) for extent in value.shape):
        return  # done already
    if all(isinstance(extent, int) for extent in value.shape):
        columns = enumerate(zip(value.shape, *shapes, strict=True))
        value.shape = tuple(
            known[axis] if axis in known else _joined(column, fit) for axis, column in columns
        )
        if value.part_of is not None:
            _generalize_value(value.part_of, matches, fit, known)


def _numbers(
    value: Value, matches: Sequence[_Match], fit: SizeFit
) -> tuple[Dimension, ...] | None:
    """The contents of a constant as expressions, None where they are the same at any size."""
    if value.constant is None:
        return None
    contents = [value.constant, *(_constant(match.twins[value]) for match in matches)]
    if all(_begin_alike(value.constant, each) for each in contents[1:]):
        return None
    first = contents[0]
    if first.size <= _MOST_NUMBERS and all(_is_alike(first, each) for each in contents):
        columns = zip(*(each.reshape(-1) for each in contents), strict=True)
        fitted = [fit.find([int(n) for n in column]) for column in columns]
        if all(size is not None for size in fitted):
            return tuple(fitted)
    raise _DiffersError(f"the constant '{value.name}' depends on the size")


def _constant(value: Value) -> Array:
    assert value.constant is not None
    return value.constant


def _is_alike(first: Array, other: Array) -> bool:
    """Whether an array holds whole numbers, as many as the first."""
    return (
        other.shape == first.shape
        and (other.dtype.kind in "iu" or other.dtype.name in ("float32", "float64"))
        and bool(np.array_equal(other, np.trunc(other)))
    )


def _begin_alike(a: Array, b: Array) -> bool:
    """Contents at a smaller size have to be the first of those at a larger one.

    Where bounds are close, sizes behind them are looked at, too: either may be the smaller one.
    """
    if a is b:
        return True
    if a.ndim != b.ndim:
        return False
    common = tuple(slice(min(extents)) for extents in zip(a.shape, b.shape, strict=True))
    return _same(a[common], b[common])


def _origin(operation: Operation) -> tuple[tuple[str, ...], str]:
    return operation.nodes, operation.source


def _join_parts(made: LaidOut, operation: Operation) -> None:
    """Copy what an operation reads of a constant without gaps: its kernels, and views, know none."""
    for position, value in enumerate(operation.inputs):
        shape = value.shape
        gaps = (is_dynamic(n) and math.prod(shape[:d]) != 1 for d, n in enumerate(shape))
        if value.constant is None or not any(gaps):
            continue
        part = Value(f"{value.name}.part", shape, value.dtype, quantization=value.quantization)
        zeros, ones = (0,) * len(shape), (1,) * len(shape)
        kind = StridedCopy(shape, tuple(range(len(shape))), zeros, ones, zeros, ones)
        operation.inputs[position] = part
        for view in operation.outputs:
            view.alias_of = part if view.alias_of is value else view.alias_of
        copied = Operation(kind, [value], [part], *_origin(operation))
        _insert_before_use(made, part, copied)


def _insert_before_use(made: LaidOut, value: Value, written: Operation) -> None:
    """Write a value before it is read first, and before a branch or loop around that."""
    program = made.program
    at = next(i for i, each in enumerate(program.operations) if value in each.inputs)
    at = min([at, *(r.first for r in made.regions if r.first <= at < r.end)])
    kind = written.kind
    numbers = kind.numbers if isinstance(kind, SizeList) else value.shape
    names = {s.name for n in numbers if is_dynamic(n) for s in symbols_of(n)}
    if any(counted_symbol(each) in names for each in program.operations[at:]):
        raise _refusal(written, "it needs a size before it is counted")
    program.operations.insert(at, written)
    made.regions[:] = [
        dataclasses.replace(r, first=r.first + (r.first >= at), end=r.end + (r.end > at))
        for r in made.regions
    ]


def _alike_pads(kinds: Sequence[Any]) -> list[Any]:
    """Windows with the greatest padding of all behind the image, which only halos depend on."""
    if not all(isinstance(kind, Convolution | Pool) for kind in kinds):
        return list(kinds)
    bottom, right = (max(kind.pads[side] for kind in kinds) for side in (2, 3))
    return [dataclasses.replace(kind, pads=(*kind.pads[:2], bottom, right)) for kind in kinds]


def _require_same_resize(operation: Operation, twins: Sequence[Operation]) -> None:
    """Tables of a smaller size are those of a larger one, cut at the last row and column."""
    kind = operation.kind
    assert isinstance(kind, Resize)
    extents = [largest(extent) for extent in operation.inputs[0].shape[2:]]
    for twin in twins:
        other = twin.kind
        assert isinstance(other, Resize)
        own = (
            (kind.rows, kind.row_weights, extents[0]),
            (kind.columns, kind.column_weights, extents[1]),
        )
        theirs = (
            (other.rows, other.row_weights, twin.inputs[0].shape[2]),
            (other.columns, other.column_weights, twin.inputs[0].shape[3]),
        )
        for pair in zip(own, theirs, strict=True):
            part, whole = sorted(pair, key=lambda table: len(table[0]))
            size = len(part[0])
            if (
                kind.nearest != other.nearest
                or not np.array_equal(np.minimum(whole[0][:size], part[2] - 1), part[0])
                or not np.array_equal(whole[1][:size], part[1])
            ):
                raise _DiffersError("its scale or its positions depend on the size")


def _same(a: Any, b: Any) -> bool:
    return a.shape == b.shape and np.array_equal(
        np.ascontiguousarray(a).view(np.uint8) if a.ndim else a,
        np.ascontiguousarray(b).view(np.uint8) if b.ndim else b,
    )


def _joined(fields: Sequence[Any], fit: SizeFit) -> Any:
    """The field with expressions where its numbers differ."""
    first = fields[0]
    if any(type(field) is not type(first) for field in fields):
        raise _DiffersError("at other sizes it has other attributes")
    if isinstance(first, np.ndarray):
        if not all(_same(first, field) for field in fields[1:]):
            raise _DiffersError("it has a table that depends on the size")
        return first
    if isinstance(first, Fallback) and any(field != first for field in fields):
        raise _DiffersError(_FALLBACK.format(first.operator))
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        changes = {
            field.name: _joined([getattr(one, field.name) for one in fields], fit)
            for field in dataclasses.fields(first)
        }
        same = all(changes[name] is getattr(first, name) for name in changes)
        return first if same else dataclasses.replace(first, **changes)
    if isinstance(first, tuple):
        if len({len(field) for field in fields}) > 1:
            raise _DiffersError("at other sizes it has other attributes")
        return tuple(_joined(each, fit) for each in zip(*fields, strict=True))
    if all(field == first for field in fields):
        return first
    if isinstance(first, int) and not isinstance(first, bool):
        size = fit.find(fields)
        if size is not None:
            return size
        raise _DiffersError(
            f"a size of it is no simple expression: {_listed(fields, fit.sizes)}"
        )
    raise _DiffersError(f"it depends on the size: {_listed(fields, fit.sizes)}")


def _listed(fields: Sequence[Any], sizes: Sequence[Sizes]) -> str:
    """``512 at length=512, 256 at length=311``."""
    texts = []
    for field, values in zip(fields, sizes, strict=True):
        where = ",".join(f"{symbol.name}={number}" for symbol, number in values.items())
        texts.append(f"{field if isinstance(field, int | float) else 'other'} at {where}")
    return ", ".join(texts)


def _refusal(operation: Operation, why: str) -> EdgecompError:
    names = ", ".join(operation.nodes)
    return EdgecompError(
        Code.DIMENSION_FREE,
        f"{type(operation.kind).__name__} '{names}' cannot have dynamic dimensions: {why}",
        node=operation.nodes[0] if operation.nodes else "",
        source=operation.source,
        hint="give the dimension as a number instead of [a..b], or a step in [a..b:32] at whose "
        "multiples the model does the same; where the data decides it, end the model before this "
        "operator",
    )
