"""Operations: what a kernel computes, apart from how.

``lower`` makes one operation from a group of ONNX nodes; a schedule makes kernels from it. The
``kind`` is a frozen dataclass, one of those that ``Kind`` lists; its docstring fixes the inputs,
their shapes and the meaning. Integer meanings are those of docs/numerics.md.

Shapes are ONNX order. Where an operation takes NHWC values its docstring says so; all other
values are reached through ``Value.view`` and may lie in any order.
"""

import dataclasses

from edgecomp.plan.attention import Attention, Exponentials, IntegerAttention, Softmax
from edgecomp.plan.counting import (
    GivenCount,
    NonMaxSuppression,
    NonZero,
    Progression,
    Sizes,
    SliceBetween,
    Unique,
)
from edgecomp.plan.elementwise import Elementwise, LookupTable, QuantizedAdd, QuantizedMultiply
from edgecomp.plan.movement import (
    Fill,
    FillHalo,
    Gather,
    GatherParts,
    Reinterpret,
    Resize,
    StorePart,
    StridedCopy,
)
from edgecomp.plan.products import (
    BatchMatrixMultiply,
    Convolution,
    IntegerBatchMultiply,
    MatrixMultiply,
    PackedMatrixMultiply,
    ScaledMatrixMultiply,
)
from edgecomp.plan.quantization import Dequantize, DynamicQuantize, PackSigns, Quantize
from edgecomp.plan.recurrence import Recurrence
from edgecomp.plan.reductions import Cumulative, LayerNorm, Pool, Reduce, TopK
from edgecomp.plan.sizes import Symbol
from edgecomp.plan.values import Value


@dataclasses.dataclass(frozen=True, eq=False)
class Branch:
    """One of two programs, by a condition.

    inputs: condition, bool of one element; then what the programs read.
    outputs: what the program that runs gives. All row-major.

    Attributes:
        bodies: the program for true and the one for false; inputs of each stand for the
            operation's behind the condition, one for one, outputs for the operation's. None
            where the model has nothing that could run: the run then fails.
    """

    bodies: "tuple[Program | None, Program | None]"


@dataclasses.dataclass(frozen=True, eq=False)
class Loop:
    """A program that runs round after round.

    inputs: the greatest number of rounds (int64 of one element) where ``has_limit``; the first
        condition (bool of one element) where ``has_start``; the first contents of what is
        carried; then what the program reads.
    outputs: the last contents of what is carried, then what ``StorePart`` operations of the
        program write. All row-major.

    Attributes:
        body: its inputs are the number of the round (int64) where ``has_counter``, what is
            carried, and what it reads; its outputs the next condition where ``has_next``, the
            next contents of what is carried, and what StorePart writes.
        carried: how many values are carried.
        most_rounds: more are refused when the model runs.
    """

    body: "Program"
    carried: int
    has_limit: bool
    has_start: bool
    has_next: bool
    has_counter: bool
    most_rounds: int


@dataclasses.dataclass(frozen=True)
class Fallback:
    """One ONNX node without a schedule; Relax supplies the kernels.

    inputs: the node's inputs (constants included), row-major.

    Attributes:
        model: serialized ONNX ModelProto of the single node, inputs named i0, i1 ..., outputs
            o0, o1 ...; constant inputs are initializers.
        operator: ONNX operator type, for the coverage report.
    """

    model: bytes
    operator: str


Kind = (
    Convolution
    | MatrixMultiply
    | ScaledMatrixMultiply
    | PackedMatrixMultiply
    | BatchMatrixMultiply
    | IntegerBatchMultiply
    | Elementwise
    | LookupTable
    | QuantizedAdd
    | QuantizedMultiply
    | Pool
    | Reduce
    | Softmax
    | Exponentials
    | Attention
    | IntegerAttention
    | LayerNorm
    | Recurrence
    | Cumulative
    | StridedCopy
    | Fill
    | FillHalo
    | Reinterpret
    | Quantize
    | PackSigns
    | DynamicQuantize
    | Dequantize
    | Resize
    | Gather
    | StorePart
    | Branch
    | Loop
    | NonZero
    | NonMaxSuppression
    | Unique
    | GivenCount
    | Progression
    | SliceBetween
    | TopK
    | GatherParts
    | Sizes
    | Fallback
)


@dataclasses.dataclass(eq=False)
class Operation:
    """One step of the program.

    Attributes:
        kind: what it computes.
        inputs: values it reads, in the order the kind's docstring gives.
        outputs: values it writes. Two operations write the same value only as parts (Fill,
            FillHalo, StridedCopy, then the producer).
        nodes: names of the ONNX nodes it stands for.
        source: ``file.py:line`` of the first node that has one, or "".
    """

    kind: Kind
    inputs: list[Value]
    outputs: list[Value]
    nodes: tuple[str, ...] = ()
    source: str = ""

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value


def counted_symbol(operation: Operation) -> str:
    """Name of the symbol whose value the last output of an operation is, "" for none."""
    return getattr(operation.kind, "symbol", "")


def bodies_of(operation: Operation) -> "list[Program]":
    """The programs inside a Branch or a Loop."""
    kind = operation.kind
    if isinstance(kind, Branch):
        return [body for body in kind.bodies if body is not None]
    return [kind.body] if isinstance(kind, Loop) else []


@dataclasses.dataclass
class Program:
    """Operations in execution order.

    Attributes:
        name: C identifier of the model.
        inputs: values the user fills; row-major.
        outputs: values the user reads; row-major.
        output_names: what the user calls them.
        symbols: that the shapes of the inputs or operations give, of dynamic dimensions.
    """

    name: str
    operations: list[Operation]
    inputs: list[Value]
    outputs: list[Value]
    output_names: list[str] = dataclasses.field(default_factory=list)
    symbols: tuple[Symbol, ...] = ()
