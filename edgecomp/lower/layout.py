"""Choose the order in memory of every value, give images their halos, insert what converts.

Convolutions, pools and resizes work on NHWC images. Everything else follows: an operation that
does not care writes NHWC when it reads NHWC or when an image operation reads its result. A value
that is wanted in both orders is copied once. Padding is never computed by a kernel: an image
carries a halo as wide as its consumers need, filled with their neutral value before its producer
runs.
"""

import numpy as np

from edgecomp.lower.alias_copies import alias_copies
from edgecomp.lower.place_parts import place_parts
from edgecomp.lower.uses import Uses
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
    FillHalo,
    Gather,
    GatherParts,
    Reinterpret,
    Resize,
    StorePart,
    StridedCopy,
)
from edgecomp.plan.operations import Branch, Fallback, Loop, Operation, Program, bodies_of
from edgecomp.plan.products import (
    BatchMatrixMultiply,
    Convolution,
    MatrixMultiply,
    PackedMatrixMultiply,
    ScaledMatrixMultiply,
)
from edgecomp.plan.quantization import Dequantize, DynamicQuantize, PackSigns, Quantize
from edgecomp.plan.recurrence import Recurrence
from edgecomp.plan.reductions import Cumulative, LayerNorm, Pool, Reduce, TopK
from edgecomp.plan.values import Halo, Order, Value

IMAGE_KINDS = (Convolution, Pool, Resize)
ROW_MAJOR_KINDS = (
    MatrixMultiply,
    BatchMatrixMultiply,
    ScaledMatrixMultiply,
    LayerNorm,
    Recurrence,
    Cumulative,
    Gather,
    GatherParts,
    NonMaxSuppression,
    NonZero,
    Unique,
    GivenCount,
    Progression,
    SliceBetween,
    TopK,
    Sizes,
    PackedMatrixMultiply,
    StorePart,
    Branch,
    Loop,
    Fallback,
    Reinterpret,
)
#: Kinds that reach each input by its own strides at full speed.
ANY_INPUT_KINDS = (Quantize, Dequantize, StridedCopy, Reduce)


def assign_layout(program: Program) -> None:
    """Set order and halo of every value; insert copies and halo fills.

    What a branch or loop reads and gives is row-major; inside, each body has a layout of its own.
    """
    for operation in program.operations:
        for body in bodies_of(operation):
            assign_layout(body)
    _choose_orders(program)
    _convert_inputs(program)
    _settle_outputs(program)
    alias_copies(program)


def _choose_orders(program: Program) -> None:
    uses = Uses(program)
    fixed = {*program.inputs, *program.outputs}
    for operation in program.operations:
        for value in operation.outputs:
            if len(value.shape) != 4 or value.constant is not None:
                continue
            if isinstance(operation.kind, IMAGE_KINDS):
                value.order = Order.NHWC
            elif isinstance(operation.kind, ROW_MAJOR_KINDS) or value in fixed:
                continue
            elif _prefers_nhwc(operation, value, uses):
                value.order = Order.NHWC


def _prefers_nhwc(operation: Operation, value: Value, uses: Uses) -> bool:
    """Whether an operation that takes any order should write NHWC."""
    readers = uses.consumers(value)
    if any(isinstance(reader.kind, IMAGE_KINDS) for reader in readers):
        return True
    if isinstance(operation.kind, StridedCopy):
        rank, kind = len(operation.inputs[0].shape), operation.kind
        if _moves_channels_in(operation):
            return not readers or not all(isinstance(r.kind, ROW_MAJOR_KINDS) for r in readers)
        cut = kind.in_shape is not None and kind.out_shape is not None
        if kind.permutation != tuple(range(rank)) and not cut:
            return False
    if not any(_is_image(v) for v in operation.inputs):
        return False
    # A result that only row-major operations read is written row-major at once.
    return not readers or not all(isinstance(r.kind, ROW_MAJOR_KINDS) for r in readers)


def _moves_channels_in(operation: Operation) -> bool:
    """Whether NHWC is the order in which a transposed value lies already."""
    kind, x = operation.kind, operation.inputs[0]
    assert isinstance(kind, StridedCopy)
    plain = kind.in_shape is None and kind.out_shape is None
    return plain and x.order is Order.ROW_MAJOR and kind.permutation == (0, 2, 3, 1)


def _is_image(value: Value) -> bool:
    return value.order is Order.NHWC and not same_memory(value)


def same_memory(value: Value) -> bool:
    """Whether NHWC without a halo and row-major are the same bytes."""
    if len(value.shape) != 4:
        return False
    _, channels, height, width = value.shape
    return not value.halo and (channels == 1 or height * width == 1)


class _Converter:
    """Copies of values in another order or with another halo, each made once."""

    def __init__(self) -> None:
        self._copies: dict[tuple[Value, Order, float | int | None], Value] = {}
        self.inserted: list[Operation] = []
        self.aliases: set[Value] = set()

    def convert(
        self, value: Value, order: Order, reader: Operation, fill: float | None = None
    ) -> Value:
        """The value in ``order``; a copy of its own for a halo that is filled with ``fill``."""
        key = (value, order, fill)
        if key not in self._copies:
            suffix = order.value if fill is None else f"{order.value}.{fill}"
            made = Value(
                f"{value.name}.{suffix}",
                value.shape,
                value.dtype,
                order,
                quantization=value.quantization,
            )
            alias = fill is None and same_memory(value)
            rank = len(value.shape)
            kind = Reinterpret() if alias else _identity_copy(value.shape, rank)
            self._copies[key] = made
            if alias:
                self.aliases.add(made)
            self.inserted.append(
                Operation(kind, [value], [made], reader.nodes[:1], reader.source)
            )
        return self._copies[key]


def _identity_copy(shape: tuple[int, ...], rank: int) -> StridedCopy:
    return StridedCopy(
        shape=shape,
        permutation=tuple(range(rank)),
        in_start=(0,) * rank,
        in_step=(1,) * rank,
        out_start=(0,) * rank,
        out_step=(1,) * rank,
    )


def _convert_inputs(program: Program) -> None:
    """Give every operation its inputs in the order it takes; note the halos it needs."""
    converter = _Converter()
    halo_fills: dict[Value, float | int] = {}
    result: list[Operation] = []
    for operation in program.operations:
        for index, value in enumerate(operation.inputs):
            wanted = _wanted_order(operation, value)
            if wanted is not None and wanted is not value.order:
                operation.inputs[index] = converter.convert(value, wanted, operation)
        if isinstance(operation.kind, (Convolution, Pool)):
            _request_halo(operation, converter, halo_fills)
        result += converter.inserted
        converter.inserted = []
        result.append(operation)
    program.operations = result
    place_parts(program, halo_fills)
    for value, fill in halo_fills.items():
        _insert_fill(program, value, fill)
    for operation in program.operations:
        for value in (*operation.inputs, *operation.outputs):
            value.halo = _whole(value).halo


def _wanted_order(operation: Operation, value: Value) -> Order | None:
    """Order an operation needs an input in; None where any will do."""
    if len(value.shape) != 4 or value.constant is not None:
        return None
    kind = operation.kind
    if isinstance(kind, IMAGE_KINDS):
        return Order.NHWC
    if isinstance(kind, ROW_MAJOR_KINDS):
        return Order.ROW_MAJOR
    if isinstance(kind, ANY_INPUT_KINDS):
        return None
    if isinstance(kind, (DynamicQuantize, PackSigns)):
        return operation.outputs[0].order
    if isinstance(kind, (Elementwise, LookupTable, QuantizedAdd, QuantizedMultiply)):
        broadcast = value.shape != operation.output.shape
        return None if broadcast else operation.output.order
    return None


def _request_halo(
    operation: Operation, converter: _Converter, fills: dict[Value, float | int]
) -> None:
    """Widen the halo of a window's input; another fill value needs a copy of its own."""
    kind = operation.kind
    assert isinstance(kind, (Convolution, Pool))
    if not any(kind.pads):
        return
    x = operation.inputs[0]
    fill = _neutral(operation)
    # An alias shares the memory of a row-major value, which has no room for a halo.
    if fills.get(x, fill) != fill or x in converter.aliases:
        x = converter.convert(x, Order.NHWC, operation, fill)
        operation.inputs[0] = x
    fills[x] = fill
    x.halo = x.halo.union(Halo(*kind.pads))


def _neutral(operation: Operation) -> float | int:
    """What padding means to a window."""
    kind, x = operation.kind, operation.inputs[0]
    if isinstance(kind, Pool) and kind.maximum:
        if x.dtype == "float32":
            return -np.inf
        return int(np.iinfo(x.dtype).min)
    if x.quantization is not None:
        return x.quantization.zero_point
    return 0.0 if x.dtype == "float32" else 0


def _insert_fill(program: Program, value: Value, fill: float) -> None:
    """Put the halo fill before the first operation that writes the value."""
    for position, operation in enumerate(program.operations):
        if any(_whole(written) is value for written in operation.outputs):
            program.operations.insert(
                position,
                Operation(FillHalo(fill), [], [value], operation.nodes[:1], operation.source),
            )
            return
    raise AssertionError(f"nothing writes {value.name}")


def _whole(value: Value) -> Value:
    """The image whose memory holds the value."""
    while value.part_of is not None:
        value = value.part_of
    return value


def _settle_outputs(program: Program) -> None:
    """Outputs the user reads are row-major values of their own."""
    seen: set[Value] = set(program.inputs)
    for index, value in enumerate(program.outputs):
        shared = value in seen or value.constant is not None
        if (
            value.order is Order.ROW_MAJOR
            and not shared
            and not _reinterprets_input(program, value)
        ):
            seen.add(value)
            continue
        made = Value(f"{value.name}.out", value.shape, value.dtype)
        made.quantization = value.quantization
        producer = next((o for o in program.operations if value in o.outputs), None)
        program.operations.append(
            Operation(
                _identity_copy(value.shape, len(value.shape)),
                [value],
                [made],
                producer.nodes[:1] if producer else (),
                producer.source if producer else "",
            )
        )
        program.outputs[index] = made
        seen.add(made)


def _reinterprets_input(program: Program, value: Value) -> bool:
    """Whether the output is only another view of something that must keep its own memory."""
    root = value
    for operation in reversed(program.operations):
        if isinstance(operation.kind, Reinterpret) and operation.output is root:
            root = operation.inputs[0]
    return root is not value and (root in program.inputs or root.constant is not None)
