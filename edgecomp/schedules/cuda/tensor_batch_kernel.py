"""Products of two activations on tensor cores: each warp keeps a tile of sums of one batch.

    for a few elements of K:
        load rows of a and columns of b, as ``tensor_operand.py`` says
        for each fragment of both: multiply and add

Fragments, tiles and warps that share K are those of products with constants (``tensor_kernel.py``).
Rows and columns behind the last one are the last one again, and are not stored; behind the end of
K both operands are zero.
"""

import dataclasses
import math

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import BatchMatrixMultiply, IntegerBatchMultiply
from edgecomp.plan.sizes import Dimension, largest
from edgecomp.plan.values import Value, View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, load, splat
from edgecomp.schedules.cpu.batch_operands import Matrix, views_of
from edgecomp.schedules.cpu.elementwise import immediate
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.operand import Operand as StepOperand
from edgecomp.schedules.cpu.product_steps import ProductSteps
from edgecomp.schedules.cpu.quantize import narrowing
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.cuda.tensor_bytes import ONES, Bytes, as_multiplied, of_bytes
from edgecomp.schedules.cuda.tensor_depth import DepthOrder
from edgecomp.schedules.cuda.tensor_operand import Layout, Operand, Room
from edgecomp.schedules.cuda.tensor_tile import (
    WARP,
    Instruction,
    WarpTile,
    choose_warp_tile,
    instruction_for,
)
from edgecomp.schedules.cuda.tensor_warp import (
    Results,
    Run,
    Stage,
    add_up_slices,
    own_number,
    own_rows,
    packed,
    words_of_fragments,
)
from edgecomp.schedules.gpu.builder import GridBuilder, parts_of
from edgecomp.schedules.gpu.elementwise import emit_steps
from edgecomp.schedules.gpu.places import flat_target, gpu_of, is_multiple
from edgecomp.schedules.gpu.quantize import quotient
from edgecomp.schedules.gpu.score_steps import start_of
from edgecomp.schedules.gpu.vectors import load_vector

#: Words that a thread has where neither operand says how many.
_WORDS_APART = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchCut:
    """A product of two activations as warps compute it.

    Attributes:
        order: of K.
        vector: columns of b that are loaded at once, see ``Operand``.
        tile: of a warp.
    """

    order: DepthOrder
    vector: int
    tile: WarpTile

    @staticmethod
    def of(
        a: Layout,
        b: Layout,
        depth: Dimension,
        images: Dimension,
        instruction: Instruction,
        target: Target,
    ) -> "BatchCut":
        """The cut of a product on a device."""
        words = [found for layout in (a, b) if (found := layout.words(instruction))]
        order = DepthOrder(instruction, min(words, default=_WORDS_APART))
        vector = 0 if b.words(instruction) else b.vector(instruction)
        tile = choose_warp_tile(
            instruction.fragments,
            largest(a.lines),
            largest(b.lines),
            largest(images),
            -(-largest(depth) // order.step_elements),
            gpu_of(target),
            least_across=min(vector, 2),
        )
        return BatchCut(order=order, vector=min(vector, tile.across), tile=tile)


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is computed, of either kind.

    Attributes:
        a, b: matrices.
        output: where results lie.
        alpha: of the sums.
        steps: behind the scaled sums.
        bytes_of: of both operands; None for floats.
    """

    a: Matrix
    b: Matrix
    output: View
    alpha: float
    steps: ProductSteps
    bytes_of: tuple[Bytes, Bytes] | None

    @staticmethod
    def of(operation: Operation) -> "_Task":
        kind, (left, right, *further) = operation.kind, operation.inputs
        if isinstance(kind, IntegerBatchMultiply):
            views, turned = (kind.a, kind.b, kind.output), (False, False)
            steps = kind.steps
            bytes_of = (
                Bytes.of(left.dtype, left.quantization),
                Bytes.of(right.dtype, right.quantization),
            )
        else:
            assert isinstance(kind, BatchMatrixMultiply)
            views, turned = views_of(operation), (kind.transpose_a, kind.transpose_b)
            steps, bytes_of = (), None
        batch = views[2].shape[:-2]
        return _Task(
            Matrix.of(views[0], batch, transposed=turned[0]),
            Matrix.of(views[1], batch, transposed=turned[1]),
            views[2],
            kind.alpha,
            ProductSteps(steps, further, views[2].shape),
            bytes_of,
        )


def layouts_of(operation: Operation) -> tuple[Layout, Layout]:
    """How both operands lie."""
    task = _Task.of(operation)
    rows, columns = task.output.shape[-2:]
    return Layout.of_rows(task.a, rows), Layout.of_columns(task.b, columns)


class TensorBatchKernel:
    """One kernel in the making."""

    def __init__(self, operation: Operation, target: Target) -> None:
        self.operation, self.target = operation, target
        self.task = task = _Task.of(operation)
        left, right = operation.inputs[:2]
        instruction = instruction_for(left.stored, gpu_of(target))
        assert instruction is not None, left.stored
        if task.bytes_of is not None:
            both = as_multiplied(instruction, *task.bytes_of)
            self.task = task = dataclasses.replace(task, bytes_of=both)
            instruction = of_bytes(instruction, *both)
        self.instruction, self.fragments = instruction, instruction.fragments
        *self.batch, self.rows, self.columns = task.output.shape
        self.depth = depth_of(operation)
        layouts = layouts_of(operation)
        images = math.prod(self.batch)
        self.cut = cut = BatchCut.of(*layouts, self.depth, images, instruction, target)
        self.tile = tile = cut.tile
        across, down = parts_of(self.columns, tile.columns), parts_of(self.rows, tile.rows)
        self.builder = builder = GridBuilder(
            (across, down, images), (WARP, tile.warps * tile.slices, 1)
        )
        buffers = [
            builder.pointer(name, value.stored, value.view.elements)
            for name, value in zip("ab", (left, right), strict=True)
        ]
        self.further = {
            value: builder.pointer(f"x{number}", value.stored, value.view.elements)
            for number, value in enumerate(task.steps.pointers)
        }
        output = operation.output
        self.y = builder.pointer("y", output.stored, output.view.elements)
        own = builder.let("own", own_number(builder, self.fragments.place) * cut.order.own)
        flips = [0, 0] if task.bytes_of is None else [b.flip for b in task.bytes_of]
        lines = zip(
            layouts,
            buffers,
            flips,
            (0 if layouts[0].words(instruction) else 1, cut.vector),
            strict=True,
        )
        self.a, self.b = (
            Operand(
                builder=builder,
                buffer=buffer,
                layout=layout,
                order=cut.order,
                vector=vector,
                own=own,
                flip=flip,
                is_rounded=buffer is buffers[1] and left.stored == "float32",
                has_whole_words=is_multiple(self.depth, instruction.word),
            )
            for layout, buffer, flip, vector in lines
        )
        self.results = Results(self.fragments, tile.across, max(1, cut.vector), self.columns)
        self.narrow = narrowing(builder, output, flat_target(target), quotient)
        self.sums_dtype = f"{instruction.sums}x{self.fragments.sums}"
        # Behind the tile's sums those of columns, then those of rows, where there are any.
        zeros = (0, 0) if task.bytes_of is None else [b.zero for b in task.bytes_of]
        self.of_columns = tile.down * tile.across
        self.of_rows = self.of_columns + (tile.across if zeros[0] else 0)
        self.all_sums = self.of_rows + (tile.down if zeros[1] else 0)
        self.zero_a, self.zero_b = zeros
        self.sums = builder.array("sums", self.sums_dtype, self.all_sums)
        (self.stage,) = Stage.of(builder, tile.warps * tile.slices, instruction.staging)

    @property
    def arguments(self) -> tuple[Value, ...]:
        """Of the call."""
        return (*self.operation.inputs[:2], *self.further, self.operation.output)

    def emit(self) -> None:
        """All statements."""
        builder, tile, fragments = self.builder, self.tile, self.fragments
        indices = unravel(builder, builder.group(2), self.batch)
        self.image = {
            name: start_of(builder, name, view, indices)
            for name, view in (
                ("a_at", self.task.a.view),
                ("b_at", self.task.b.view),
                ("y_at", self.task.output),
            )
        }
        self.further_at = {
            value: start_of(builder, "x_at", view, indices)
            for value, view in zip(
                self.task.steps.pointers, self.task.steps.views, strict=True
            )
        }
        block = builder.group(0) * tile.columns
        self.column = builder.let("column", block + self.results.own_column(builder))
        a_starts, b_starts = self._starts(block)
        zero = constant(0, self.instruction.sums)
        zeros = packed(builder, "zeros", [zero] * fragments.sums, self.instruction.sums)
        for index in range(self.all_sums):
            builder.store(self.sums, tirx.const(index, "int32"), zeros)
        self.ones: tuple[Expr, Expr] = (None, None)
        if self.zero_a or self.zero_b:
            one = constant(ONES, "int32")
            self.ones = (
                packed(builder, "ones", [one] * (2 * len(fragments.x_rows)), "int32"),
                packed(builder, "ones", [one] * 2, "int32"),
            )
        if tile.slices == 1:
            self._accumulate(a_starts, b_starts)
            self._take_sums()
            self._finish()
            return
        self._accumulate_slice(a_starts, b_starts)
        self._take_sums()
        tiles = tile.down * tile.across
        add_up_slices(builder, self.sums, self.sums_dtype, tiles, tile.slices)
        with builder.condition(builder.item(1) < 1):
            self._finish()

    def _starts(self, block: Expr) -> tuple[list[Expr], list[Expr]]:
        """Where this thread's lines of both operands begin; rows of its sums are kept."""
        builder, tile, fragments = self.builder, self.tile, self.fragments
        warp: Expr = builder.group(1)
        if tile.slices == 1:
            warp = warp * tile.warps + builder.item(1)
        warp = builder.let("warp", warp * (tile.down * tile.height))
        self.row_numbers, numbers = own_rows(builder, fragments, warp, tile.down)
        vector = self.results.vector
        beside = builder.let("beside", own_number(builder, fragments.column) * vector)
        columns = [
            block + beside + group * (fragments.columns * vector)
            for group in range(tile.across // vector)
        ]
        return (
            self.a.starts(self.image["a_at"], numbers),
            self.b.starts(self.image["b_at"], columns),
        )

    def _accumulate(self, a_starts: list[Expr], b_starts: list[Expr]) -> None:
        """All of K, then what there is in front of its end."""
        builder, step = self.builder, self.cut.order.step_elements
        depth = builder.size(self.depth)
        if isinstance(depth, int):
            whole, rest = divmod(depth, step)
        else:
            whole = builder.let("whole", tirx.truncdiv(depth, step))
            rest = (
                0
                if is_multiple(self.depth, step)
                else builder.let("rest", depth - whole * step)
            )
        if not isinstance(whole, int) or whole:
            with builder.loop("k", 0, whole) as k:
                self._step(a_starts, b_starts, builder.let("begin", k * step))
        if isinstance(rest, int):
            if rest:
                left = tirx.const(rest, "int32")
                room = Room(left=left, there=left)
                self._step(a_starts, b_starts, tirx.const(whole * step, "int32"), room)
            return
        with builder.condition(rest > 0):
            room = Room(left=rest, there=rest)
            self._step(a_starts, b_starts, builder.let("begin", whole * step), room)

    def _accumulate_slice(self, a_starts: list[Expr], b_starts: list[Expr]) -> None:
        """Every n-th step of K."""
        builder, elements = self.builder, self.cut.order.step_elements
        slices, depth = self.tile.slices, builder.size(self.depth)
        total = builder.parts_of(self.depth, elements)
        rounds: Expr
        if isinstance(total, int):
            rounds, last = -(-total // slices), tirx.const(total - 1, "int32")
        else:
            rounds = builder.let("rounds", tirx.truncdiv(total + (slices - 1), slices))
            last = total - 1
        is_whole = is_multiple(self.depth, elements * slices)
        with builder.loop("round", 0, rounds) as round_:
            step = builder.let("step", round_ * slices + builder.item(1))
            if is_whole:
                self._step(a_starts, b_starts, builder.let("begin", step * elements))
                return
            begin = builder.let("begin", tirx.Min(step, last) * elements)
            there = builder.let("there", depth - begin)
            left = tirx.Select(step < total, there, constant(0, "int32"))
            room = Room(left=builder.let("left", left), there=there)
            self._step(a_starts, b_starts, begin, room)

    def _step(
        self, a_starts: list[Expr], b_starts: list[Expr], begin: Expr, room: Room | None = None
    ) -> None:
        """Some elements of K."""
        builder, tile, parts = self.builder, self.tile, self.cut.order.parts
        rows = self.a.load(a_starts, begin, room)
        of_rows = words_of_fragments(rows, len(self.fragments.x_rows), parts)
        of_columns = words_of_fragments(self.b.load(b_starts, begin, room), 1, parts)
        if self.stage is not None:
            a, columns = self.stage.rows(of_rows), self.stage.columns(of_columns)
        else:
            a = [packed(builder, "a", words, "int32") for words in of_rows]
            columns = [packed(builder, "b", words, "int32") for words in of_columns]
        for number, b in enumerate(columns):
            n, part = divmod(number, parts)
            for m in range(tile.down):
                self._multiply(m * tile.across + n, a[m * parts + part], b)
            if self.zero_a:
                self._multiply(self.of_columns + n, self.ones[0], b)
        if self.zero_b:
            for number, words in enumerate(a):
                self._multiply(self.of_rows + number // parts, words, self.ones[1])

    def _multiply(self, index: int, a: Expr, b: Expr) -> None:
        place = tirx.const(index, "int32")
        total = tirx.call_pure_extern(
            self.sums_dtype, self.instruction.function, a, b, load(self.sums, place)
        )
        self.builder.store(self.sums, place, total)

    def _take_sums(self) -> None:
        """This warp's sums, without what zero points add to them but for their own product."""
        builder, tile, lanes = self.builder, self.tile, self.fragments.sums
        for m in range(tile.down):
            for n in range(tile.across):
                place = tirx.const(m * tile.across + n, "int32")
                for zero, index in (
                    (self.zero_a, self.of_columns + n),
                    (self.zero_b, self.of_rows + m),
                ):
                    if zero:
                        more = load(self.sums, tirx.const(index, "int32"))
                        more = more * constant(-zero, "int32", lanes)
                        builder.store(self.sums, place, load(self.sums, place) + more)
                if self.stage is not None:
                    total = self.stage.sums(load(self.sums, place), self.sums_dtype)
                    builder.store(self.sums, place, total)

    def _finish(self) -> None:
        """Rows of results that are there."""
        builder, by_row = self.builder, self.task.output.strides[-2]
        for part, row in enumerate(self.row_numbers):
            with builder.condition(row < builder.size(self.rows)):
                at = builder.let("at", self.image["y_at"] + row * builder.size(by_row))
                for run in self.results.runs():
                    column = builder.let("column", self.column + run.column)
                    with builder.condition(column < builder.size(self.columns)):
                        value = self._result(part, run, row, column)
                        self.results.store(builder, self.y, at + column, value, column)

    def _result(self, part: int, run: Run, row: Expr, column: Expr) -> Expr:
        """Results of a run."""
        builder, lanes = self.builder, self.results.lanes
        sums = [self._sum(part, *place) for place in run.places]
        value = packed(builder, "sum", sums, self.instruction.sums)
        if self.task.bytes_of is not None:
            value = tirx.Cast(typed("float32", lanes), value)
        if self.task.alpha != 1.0 or self.task.bytes_of is not None:
            value = value * constant(self.task.alpha, "float32", lanes)
        steps = self.task.steps
        if steps.steps:
            named = builder.let("product", value, typed("float32", lanes))
            chain = [StepOperand(named, "float32")]
            for further in steps.inputs:
                if further not in self.further:
                    chain.append(immediate(further, lanes))
                    continue
                loaded = self._further(further, row, column, lanes)
                chain.append(StepOperand(loaded, "float32"))
            value = emit_steps(builder, steps.steps, chain, lanes).value
        return self.narrow(value)

    def _sum(self, part: int, across: int, number: int) -> Expr:
        """One sum.

        Args:
            part: number of the row.
            across: of the fragment.
            number: of the sum in it.
        """
        down, below = divmod(part, 2)
        place = tirx.const(down * self.tile.across + across, "int32")
        total = tirx.Shuffle([load(self.sums, place)], [number + 2 * below])
        if self.zero_a and self.zero_b:
            each = constant(self.zero_a * self.zero_b, "int32")
            total = total + each * self.builder.size(self.depth)
        return total

    def _further(self, value: Value, row: Expr, column: Expr, lanes: int) -> Expr:
        """Elements of a further input beside a run."""
        builder, buffer = self.builder, self.further[value]
        view = value.view.broadcast_to(self.task.output.shape)
        by_row, by_column = view.strides[-2:]
        at = self.further_at[value] + row * builder.size(by_row)
        dtype = typed("float32", lanes)
        if by_column == 0:
            return builder.let("x", splat(load_vector(buffer, at, 1), lanes), dtype)
        if self.results.is_whole():
            return builder.let("x", load_vector(buffer, at + column, lanes), dtype)
        columns = builder.size(self.columns)
        last = tirx.const(columns - 1, "int32") if isinstance(columns, int) else columns - 1
        places = [tirx.Min(column + lane, last) for lane in range(lanes)]
        return packed(
            builder, "x", [load_vector(buffer, at + place, 1) for place in places], "float32"
        )


def depth_of(operation: Operation) -> Dimension:
    """Elements of K."""
    kind = operation.kind
    if isinstance(kind, IntegerBatchMultiply):
        return kind.a.shape[-1]
    assert isinstance(kind, BatchMatrixMultiply)
    return views_of(operation)[0].shape[-2 if kind.transpose_a else -1]
