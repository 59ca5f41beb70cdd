"""Signs of float32 numbers as words of bits, channels (or the last dimension) side by side."""

import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.quantization import SIGN_BITS, PackSigns
from edgecomp.plan.values import Order, Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, intrinsic, load
from edgecomp.schedules.cpu.vectors import lanes_of, named
from edgecomp.schedules.schedule import KernelCall

NAME = "pack_signs"
#: More elements of one load could lie behind the room that follows every value.
_MOST_LANES = 16


def match(operation: Operation, target: Target) -> str:
    """Rows whose elements lie side by side."""
    del target
    if not isinstance(operation.kind, PackSigns):
        return "not a PackSigns"
    (x,), output = operation.inputs, operation.output
    if x.dtype != "float32" or x.order is not output.order:
        return f"{x.dtype}, {x.order.value} to {output.order.value}"
    return "" if x.elements else "no elements"


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is a row of the image, or of the matrix."""
    kernel = _Kernel(operation, target)
    (x,), output = operation.inputs, operation.output
    items = kernel.emit()
    return [KernelCall(kernel.builder.finish(NAME), (x, output), items)]


class _Kernel:
    def __init__(self, operation: Operation, target: Target) -> None:
        assert isinstance(operation.kind, PackSigns)
        self.kind = operation.kind
        (self.source,), self.output = operation.inputs, operation.output
        self.builder = KernelBuilder(target.core.isa)
        self.lanes = min(_MOST_LANES, target.lanes(32))
        self.x = self.builder.pointer("x", "float32", self.source.view.elements)
        self.y = self.builder.pointer("y", "int32", self.output.view.elements)

    def emit(self) -> int:
        """The loops; returns the number of work items."""
        builder, source = self.builder, self.source
        is_image = source.order is Order.NHWC
        if not is_image:
            depth = source.shape[-1]
            words = self.output.shape[-1]
            with builder.loop("row", builder.lo, builder.hi) as row:
                at = row.astype("int64")
                self._row(at * depth, at * words, depth)
            return math.prod(source.shape[:-1])
        batch, channels, height, width = source.shape
        with builder.loop("item", builder.lo, builder.hi) as item:
            image = builder.let("image", tirx.truncdiv(item, height))
            row = builder.let("row", item - image * height)
            with builder.loop("column", 0, width) as column:
                at, out = (self._place(v, image, row, column) for v in (source, self.output))
                self._row(at, out, channels)
        return batch * height

    def _place(self, value: Value, image: Expr, row: Expr, column: Expr) -> Expr:
        view = value.view
        batch, _, down, along = view.strides
        at = view.offset + image.astype("int64") * batch + row * down + column * along
        return self.builder.let("place", at, "int64")

    def _row(self, at: Expr, out: Expr, depth: int) -> None:
        """All words of one row."""
        whole, rest = divmod(depth, SIGN_BITS)
        if whole:
            with self.builder.loop("word", 0, whole) as word:
                self._word(at + word * SIGN_BITS, out + word * 2, SIGN_BITS)
        if rest:
            self._word(at + whole * SIGN_BITS, out + 2 * whole, rest)

    def _word(self, at: Expr, out: Expr, count: int) -> None:
        """The words of up to 32 elements."""
        negative: list[Expr] = []
        nonzero: list[Expr] = []
        for start in range(0, count, self.lanes):
            x = named(self.builder, "x", load(self.x, at + start, self.lanes))
            bits = self._bits(start, count)
            negative.append(self._negative(x, bits))
            if self.kind.test == "Sign":
                nothing, zero = self._nothing(), self._zero()
                signed = tirx.Select(x > zero, bits, nothing)
                nonzero.append(negative[-1] | signed)
        self._store(self.y, out, negative)
        if nonzero:
            self._store(self.y, out + 1, nonzero)
        else:
            self.builder.store(self.y, out + 1, _signed((1 << count) - 1))

    def _negative(self, x: Expr, bits: Expr) -> Expr:
        """The bits of lanes with a negative sign.

        No comparison with NaN holds. Where the sign is negative of what does not hold, the two
        choices change places: TVM would turn the denial of ``x >= 0`` into ``x < 0``.
        """
        kind, nothing, zero = self.kind, self._nothing(), self._zero()
        if kind.test == "Sign":
            return tirx.Select(x < zero, bits, nothing)
        holds = {
            "GreaterOrEqual": tirx.GE,
            "Greater": tirx.GT,
            "LessOrEqual": tirx.LE,
            "Less": tirx.LT,
        }[kind.test](x, zero)
        if kind.first < 0:
            return tirx.Select(holds, bits, nothing)
        return tirx.Select(holds, nothing, bits)

    def _nothing(self) -> Expr:
        return constant(0, "int32", self.lanes)

    def _zero(self) -> Expr:
        return constant(0.0, "float32", self.lanes)

    def _bits(self, start: int, count: int) -> Expr:
        """The bit of each lane, 0 of lanes behind the last element."""
        lanes = range(start, start + self.lanes)
        values = [_signed(1 << lane if lane < count else 0) for lane in lanes]
        return tirx.Shuffle(values, [tirx.const(k, "int32") for k in range(self.lanes)])

    def _store(self, buffer: Buffer, at: Expr, parts: list[Expr]) -> None:
        total = parts[0]
        for part in parts[1:]:
            total = total | part
        lanes = lanes_of(total)
        vector = named(self.builder, "bits", total)
        word = intrinsic("int32", f"llvm.vector.reduce.or.v{lanes}i32", vector)
        self.builder.store(buffer, at, word)


def _signed(word: int) -> Expr:
    """32 bits as an int32 literal."""
    return tirx.const(word - (1 << SIGN_BITS) if word >> (SIGN_BITS - 1) else word, "int32")
