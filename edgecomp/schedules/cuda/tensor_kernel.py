"""Products on tensor cores: each warp keeps a tile of sums of 32 bits.

    for each place of the window, for a few elements of K:
        load rows of x, all those of a fragment, a vector of up to 16 bytes by each thread
        for each eight columns: load their weights, multiply and add all of both

Fragments (PTX ISA 8.5, "Matrix Fragments") are those of ``Fragments`` in ``tensor_tile.py``:

* mma.m16n8k32 of 8-bit integers, m16n8k16 of float16 and bfloat16, and m16n8k8 of tf32 differ in
  nothing but how many elements a word of 32 bits holds: thread t of a warp has the rows t / 4 and
  t / 4 + 8 of a tile of sums, and its columns 2 (t % 4) and the next; of x it has one word of each
  half of K in both rows, of the weights one word of each half in the column t / 4.
* wmma.m16n16k16 of 8-bit integers (compute capability 7.2) has fragments of no documented order: words
  of x go through shared memory of the warp, from which the instruction loads its fragment, and sums at
  their end; weights it loads where they lie. ``Staging`` says what the kernel asks of it.
* mma.m8n8k4 of float16 (compute capability 7.0 and 7.2) makes four products at once, each by
  eight threads. Here they are of different rows and of the same columns: each thread has all of K
  of a row of x, and of a column of the weights, but sums of other rows than its own of x.

Which elements of K stand in which word is free as long as x and weights agree. A thread has
``words`` neighbouring words of x, so that it loads them at once; weights lie in the order in which
the threads of a warp read them. Where K ends within a step, words behind it are zero. Threads
behind the last row or column compute what the last ones do, and store nothing.

Where the tiles are too few to keep the device busy, several warps share one: each has every n-th
step of K, and the sums of all are added through shared memory, always in the same order.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, load
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.product import collapse_depth
from edgecomp.schedules.cuda.tensor_bytes import UPPER_BITS
from edgecomp.schedules.cuda.tensor_cut import TensorCut
from edgecomp.schedules.cuda.tensor_operand import words_at
from edgecomp.schedules.cuda.tensor_tile import WARP, instruction_for
from edgecomp.schedules.cuda.tensor_warp import (
    Stage,
    add_up_slices,
    own_number,
    packed,
    words_of_fragments,
)
from edgecomp.schedules.gpu.builder import GridBuilder, parts_of
from edgecomp.schedules.gpu.dense_kernel import DenseKernel, DeviceProduct, ProductTask
from edgecomp.schedules.gpu.inputs import InputBuffer
from edgecomp.schedules.gpu.places import flat_target, gpu_of
from edgecomp.schedules.gpu.vectors import load_vector, store_vector

_SUMS = ("output", "residual")
_ALL = ("x", *_SUMS)


class _TensorKernel(DenseKernel):
    """One kernel in the making."""

    def __init__(self, task: ProductTask) -> None:
        super().__init__(task, collapse_depth(task.product.depth))
        gpu = gpu_of(self.target)
        instruction = instruction_for(task.x_dtype, gpu)
        assert instruction is not None, task.x_dtype
        self.instruction, self.fragments = instruction, instruction.fragments
        self.cut = cut = TensorCut.of(task.product, self.depth, instruction, gpu)
        self.tile, self.padded_columns = cut.tile, cut.padded_columns
        down = parts_of(self.row_count, self.tile.rows)
        self.builder = GridBuilder(
            (cut.blocks * cut.groups, down, 1), (WARP, self.tile.warps * self.tile.slices, 1)
        )
        self.x_buffer = self.builder.pointer("x", task.x_dtype, task.product.x_elements)
        self.x = InputBuffer(self.x_buffer)
        self.weights = self.builder.pointer("weights", "int32", cut.weight_words)
        self.declare_operands(instruction.sums)
        self.sums_dtype = f"{instruction.sums}x{self.fragments.sums}"
        self.sums = self.builder.array(
            "sums", self.sums_dtype, self.tile.down * self.tile.across
        )
        warps = self.tile.warps * self.tile.slices
        (self.stage,) = Stage.of(self.builder, warps, instruction.staging)

    def emit(self) -> None:
        """All statements."""
        builder, tile, fragments, cut = self.builder, self.tile, self.fragments, self.cut
        block = self.split_block(builder.group(0), cut.blocks)
        self.place = builder.let("place", own_number(builder, fragments.place))
        own = builder.let("own", own_number(builder, fragments.sum_column))
        self.begin_columns(block * tile.columns + own)
        x_ats = self._find_rows()
        self._start_sums()
        # [groups][blocks][steps][fragments][columns][sharing][words]
        blocks = block + self.group * cut.blocks if cut.groups > 1 else block
        each = cut.all_steps * cut.step_words
        weights = own_number(builder, fragments.weights)
        weight_at = builder.let("weight_at", blocks * each + weights * (2 * cut.order.parts))
        if tile.slices > 1:
            self._accumulate_slice(x_ats, weight_at)
            self._take_sums()
            tiles = tile.down * tile.across
            add_up_slices(builder, self.sums, self.sums_dtype, tiles, tile.slices)
            with builder.condition(builder.item(1) < 1):
                self._finish()
            return
        self._accumulate(0, x_ats, weight_at)
        self._take_sums()
        self._finish()

    def _find_rows(self) -> list[Expr]:
        """Places in x of this thread's rows; those of its sums are kept."""
        builder, tile, fragments = self.builder, self.tile, self.fragments
        warp: Expr = builder.group(1)
        if tile.slices == 1:
            warp = warp * tile.warps + builder.item(1)
        warp = warp * (tile.down * tile.height)
        own = self.cut.order.words * self.instruction.word
        shifts = {"x": self.place * own, "output": self.column, "residual": self.column}
        self.row_numbers: list[Expr] = []
        self.row_ats: list[tuple[Expr, Expr]] = []
        x_ats: list[Expr] = []
        first = builder.let("first", warp + own_number(builder, fragments.sum_row))
        is_one = fragments.x_row == fragments.sum_row
        for down in range(tile.down):
            for row in fragments.sum_rows:
                number = builder.let("row", first + (down * tile.height + row))
                ats = self._places_of_row(number, shifts, _ALL if is_one else _SUMS)
                self.row_numbers.append(number)
                self.row_ats.append((ats[-2], ats[-1]))
                x_ats += ats[:-2]
        if not is_one:
            first = builder.let("first", warp + own_number(builder, fragments.x_row))
            for down in range(tile.down):
                for row in fragments.x_rows:
                    number = first + (down * tile.height + row)
                    x_ats += self._places_of_row(number, shifts, ("x",))
        return x_ats

    def _places_of_row(
        self, number: Expr, shifts: Mapping[str, Expr], tensors: Sequence[str]
    ) -> list[Expr]:
        """Where a row lies in tensors; the last one stands for those behind it."""
        builder = self.builder
        last = builder.size(self.row_count) - 1
        last = tirx.const(last, "int32") if isinstance(last, int) else last
        inside = builder.let("inside", tirx.Min(number, last))
        indices = unravel(builder, inside, [d.size for d in self.rows])
        return self.places_of(indices, shifts, tensors)

    def _starts_of_sums(self) -> list[Expr]:
        """All rows of a tile begin with the columns' bias, in the first of several slices."""
        builder, tile, dtype = self.builder, self.tile, self.instruction.sums
        found: list[Expr] = []
        for n in range(tile.across):
            starts: list[Expr] = []
            for column in self.fragments.sum_columns:
                at = self.constant_at + (n * self.fragments.columns + column)
                pair = builder.let("start", load_vector(self.bias, at, 2), f"{dtype}x2")
                both = [tirx.Shuffle([pair], [k]) for k in range(2)]
                if tile.slices > 1:
                    both = [
                        builder.let(
                            "own",
                            tirx.Select(builder.item(1) < 1, x, constant(0, dtype)),
                            dtype,
                        )
                        for x in both
                    ]
                starts += both * 2
            found.append(packed(builder, "starts", starts, dtype))
        return found

    def _start_sums(self) -> None:
        """Where only the instruction knows the order of sums, they begin with zeros."""
        if self.stage is None:
            starts = self._starts_of_sums()
        else:
            zero = constant(0, self.instruction.sums, self.fragments.sums)
            starts = [zero] * self.tile.across
        for m in range(self.tile.down):
            for n, start in enumerate(starts):
                self.builder.store(self.sums, self._index(m, n), start)

    def _take_sums(self) -> None:
        """Sums whose order only the instruction knew, and what others have begun with."""
        if self.stage is None:
            return
        starts = self._starts_of_sums()
        for m in range(self.tile.down):
            for n, start in enumerate(starts):
                place = self._index(m, n)
                total = self.stage.sums(load(self.sums, place), self.sums_dtype)
                self.builder.store(self.sums, place, total + start)

    def _index(self, m: int, n: int) -> Expr:
        return tirx.const(m * self.tile.across + n, "int32")

    def _accumulate(self, dimension: int, x_ats: list[Expr], weight_at: Expr) -> None:
        """Loops over the window, then over the run of neighbouring elements."""
        builder, depth, cut = self.builder, self.depth, self.cut
        if dimension < len(depth) - 1:
            below = math.prod(d.size for d in depth[dimension + 1 : -1])
            each = cut.run_steps * cut.step_words
            with builder.loop("k", 0, depth[dimension].size) as k:
                moved = k * int(depth[dimension].stride)
                self._accumulate(
                    dimension + 1,
                    [builder.let("x_at", at + moved) for at in x_ats],
                    builder.let("weight_at", weight_at + k * (below * each)),
                )
            return
        whole = cut.run // cut.step_elements
        if whole:
            with builder.loop("k", 0, whole) as k:
                self._step(
                    [builder.let("x_at", at + k * cut.step_elements) for at in x_ats],
                    builder.let("weight_at", weight_at + k * cut.step_words),
                )
        if whole < cut.run_steps:
            begin = whole * cut.step_elements
            self._step(
                [at + begin for at in x_ats],
                weight_at + whole * cut.step_words,
                tirx.const(cut.run - begin, "int32"),
            )

    def _accumulate_slice(self, x_ats: list[Expr], weight_at: Expr) -> None:
        """Every n-th step of K, all dimensions of it in one loop."""
        builder, cut, total = self.builder, self.cut, self.cut.steps
        with builder.loop("round", 0, cut.rounds) as round_:
            step = builder.let("step", round_ * self.tile.slices + builder.item(1))
            inside = step
            if cut.all_steps != total:
                inside = builder.let("inside", tirx.Min(step, tirx.const(total - 1, "int32")))
            indices = unravel(
                builder, inside, [*(d.size for d in self.depth[:-1]), cut.run_steps]
            )
            begin = builder.let("begin", indices[-1] * cut.step_elements)
            moved: Expr = begin
            for dimension, index in zip(self.depth[:-1], indices[:-1], strict=True):
                moved = moved + index * int(dimension.stride)
            left: Expr = None
            if cut.run % cut.step_elements or cut.all_steps != total:
                left = builder.let("left", cut.run - begin)
            if cut.all_steps != total:
                left = builder.let(
                    "left", tirx.Select(step < total, left, constant(0, "int32"))
                )
            self._step(
                [builder.let("x_at", at + moved) for at in x_ats],
                builder.let("weight_at", weight_at + step * cut.step_words),
                left,
            )

    def _step(self, x_ats: list[Expr], weight_at: Expr, left: Expr | None = None) -> None:
        """``step_elements`` of K, of which ``left`` are there."""
        builder, tile, parts = self.builder, self.tile, self.cut.order.parts
        rows = [self._words_of(at, left) for at in x_ats]
        words = words_of_fragments(rows, len(self.fragments.x_rows), parts)
        if self.stage is not None:
            fragments = self.stage.rows(words)
        else:
            fragments = [packed(builder, "a", own, "int32") for own in words]
        for n in range(tile.across):
            weights = self._weights(weight_at + n * self.cut.fragment_words)
            for part, weight in enumerate(weights):
                for m in range(tile.down):
                    total = load(self.sums, self._index(m, n))
                    total = tirx.call_pure_extern(
                        self.sums_dtype,
                        self.instruction.function,
                        fragments[m * parts + part],
                        weight,
                        total,
                    )
                    builder.store(self.sums, self._index(m, n), total)

    def _weights(self, at: Expr) -> list[Expr]:
        """Words of a fragment's weights for each instruction of a step."""
        builder, parts = self.builder, self.cut.order.parts
        if self.stage is not None:
            each = self.cut.fragment_words // parts
            return [
                self.stage.weights(self.weights, at + part * each) for part in range(parts)
            ]
        dtype = f"int32x{2 * parts}"
        loaded = builder.let("w", load_vector(self.weights, at, 2 * parts), dtype)
        lanes = [tirx.Shuffle([loaded], [k]) for k in range(2 * parts)]
        return [
            packed(builder, "b", lanes[2 * part : 2 * part + 2], "int32")
            for part in range(parts)
        ]

    def _words_of(self, at: Expr, left: Expr | None) -> list[Expr]:
        """A thread's words of a row of x: two for each instruction; zero behind the end of K."""
        builder, order = self.builder, self.cut.order
        words = words_at(builder, self.x_buffer, at, order)
        if self.instruction.x_shift:
            flip = constant(UPPER_BITS, "int32")
            words = [builder.let("word", word ^ flip) for word in words]
        if left is None:
            return words
        begin, zero = self.place * order.own, constant(0, "int32")
        return [
            builder.let("word", tirx.Select(begin + offset < left, x, zero))
            for offset, x in zip(order.offsets, words, strict=True)
        ]

    def _finish(self) -> None:
        builder, tile = self.builder, self.tile
        for n in range(tile.across):
            for place, first in enumerate(self.fragments.sum_columns):
                column, multiplier = n * self.fragments.columns + first, None
                if self.multiplier is not None:
                    value = load_vector(self.multiplier, self.constant_at + column, 2)
                    multiplier = builder.let("m", value, "float32x2")
                for part in range(2 * tile.down):
                    pair = self._index(part // 2, n), 4 * place + 2 * (part % 2)
                    self._finish_pair(part, column, pair, multiplier)

    def _finish_pair(
        self, part: int, behind: int, place: tuple[Expr, int], multiplier: Expr | None
    ) -> None:
        """Two neighbouring columns of one row.

        Args:
            part: number of the row.
            behind: columns in front of them, from the thread's first.
            place: of their sums: the fragment's, and the number in it.
            multiplier: of both.
        """
        builder, columns = self.builder, self.product.columns
        output_at, residual_at = self.row_ats[part]
        column = self.column + behind
        index, first = place
        with builder.condition(
            tirx.And(self.row_numbers[part] < builder.size(self.row_count), column < columns)
        ):
            sums = builder.let("sum", load(self.sums, index), self.sums_dtype)
            lanes = [tirx.Shuffle([sums], [first + k]) for k in range(2)]
            pair = f"{self.instruction.sums}x2"
            total = builder.let("total", tirx.call_pure_extern(pair, "pack", *lanes), pair)
            residual = None
            if self.residual is not None:
                residual = load_vector(self.residual, residual_at + behind, 2)
            value = self.epilogue.apply(
                builder, flat_target(self.target), total, 2, multiplier, residual
            )
            at = output_at + behind
            if columns % 2 == 0:
                store_vector(builder, self.y, at, value, 2)
                return
            result = builder.let("result", value, str(value.ty.dtype))
            builder.store(self.y, at, tirx.Shuffle([result], [0]))
            with builder.condition(column + 1 < columns):
                builder.store(self.y, at + 1, tirx.Shuffle([result], [1]))


def emit_tensor_product(task: ProductTask) -> DeviceProduct:
    """The kernel of a product."""
    instruction = instruction_for(task.x_dtype, gpu_of(task.target))
    assert instruction is not None, task.x_dtype
    if instruction.x_shift:
        bias = task.bias + instruction.x_shift * task.weight.sum(axis=1, dtype=np.int32)
        task = dataclasses.replace(task, bias=bias.astype(np.int32))
    made = _TensorKernel(task)
    made.emit()
    return made.finished(f"tensor_{task.name}", made.cut.pack(task.weight))
