"""Whatever depends on one 8-bit value alone becomes one table.

    x -> LookupTable(sigmoid) -> QuantizedMultiply(x, ..)     =>   x -> LookupTable
    x -> LookupTable -> LookupTable                           =>   x -> LookupTable

All 256 stored values go through the same integer steps, so that every bit stays: SiLU, Mish and
HardSwish in parts cost a single pass over memory.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from edgecomp.lower.uses import Uses, drop_unread
from edgecomp.plan.elementwise import LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.finish import Requantize
from edgecomp.plan.operations import Operation, Program
from edgecomp.plan.values import Array, Value

_Stored = npt.NDArray[np.int64]
_INTEGERS = ("int8", "uint8")


@dataclasses.dataclass(frozen=True)
class _Function:
    """What a value is of the only value it depends on.

    Attributes:
        root: 8-bit value.
        stored: result for each of its 256 stored values, least first.
        makers: operations in between.
    """

    root: Value
    stored: _Stored
    makers: tuple[Operation, ...]


def fuse_tables(program: Program) -> None:
    """Replace operations by tables of the value they depend on; drop what nobody reads then."""
    uses = Uses(program)
    functions: dict[Value, _Function] = {}
    for operation in program.operations:
        function = _function(operation, functions)
        if function is None:
            continue
        functions[operation.output] = function
        if function.makers == (operation,) and isinstance(operation.kind, LookupTable):
            continue
        operation.kind = LookupTable(function.stored.astype(operation.output.dtype))
        operation.inputs = [function.root]
        operation.nodes = _nodes(function, uses)
    drop_unread(program, LookupTable)


def _function(operation: Operation, known: dict[Value, _Function]) -> _Function | None:
    """The result as a function of one value, None where it is none."""
    kind = operation.kind
    if not isinstance(kind, (LookupTable, QuantizedAdd, QuantizedMultiply)):
        return None
    output = operation.output
    if any(value.dtype not in _INTEGERS for value in (output, *operation.inputs)):
        return None  # tables of smaller types and of floats are casts
    operands = [known.get(value) or _identity(value) for value in operation.inputs]
    if any(value.shape != output.shape for value in operation.inputs):
        return None
    root = operands[0].root
    if any(operand.root is not root for operand in operands):
        return None
    first = operands[0].stored
    makers = tuple(dict.fromkeys([m for o in operands for m in o.makers] + [operation]))
    if isinstance(kind, LookupTable):
        lowest = int(np.iinfo(operation.inputs[0].dtype).min)
        return _Function(root, kind.table.astype(np.int64)[first - lowest], makers)
    second = operands[1].stored
    if isinstance(kind, QuantizedMultiply):
        total = (first - kind.zero_a) * (second - kind.zero_b)
        return _Function(root, _requantized(total, kind.requantize), makers)
    add = kind.integer_add
    total = (first - add.zero_a) * add.weight_a + (second - add.zero_b) * add.weight_b
    return _Function(root, _requantized(total, add.requantize), makers)


def _identity(value: Value) -> _Function:
    limits = np.iinfo(value.dtype)
    return _Function(value, np.arange(limits.min, limits.max + 1), ())


def _requantized(total: _Stored, r: Requantize) -> _Stored:
    """docs/numerics.md, "Requantize"."""
    multiplier: Array = r.multiplier.astype(np.float32).reshape(-1)
    scaled = total.astype(np.float32) * multiplier[0]
    low, high = np.float32(r.low - r.zero_point), np.float32(r.high - r.zero_point)
    steps: _Stored = np.rint(np.minimum(np.maximum(scaled, low), high)).astype(np.int64)
    return steps + r.zero_point


def _nodes(function: _Function, uses: Uses) -> tuple[str, ...]:
    """Names of the nodes a table stands for: those that nothing else needs."""
    *inner, last = function.makers
    alone = [m for m in inner if set(uses.consumers(m.output)) <= set(function.makers)]
    return tuple(dict.fromkeys(name for maker in [*alone, last] for name in maker.nodes))
