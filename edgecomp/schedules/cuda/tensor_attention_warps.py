"""What kernels of attention on tensor cores share: rows, scores of some keys, and the end.

Each warp has some rows of q, whose words stay in its registers, and of the keys every n-th few.
Scores stay in registers too: the threads that have the sums of a row are those that have its words as
a first operand, or give them to each other (``Fragments.exchange``, ``Staging``). Which key a column
of scores stands for is free, and chosen so that the scores of a thread are neighbours along K of the
second product (``KeyOrder``).
"""

import abc
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

from edgecomp.device.target import Target
from edgecomp.plan.attention import Attention, IntegerAttention
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load
from edgecomp.schedules.cpu.batch_operands import Matrix
from edgecomp.schedules.cpu.elementwise import distinct_inputs
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.small_types import memory_dtype
from edgecomp.schedules.cuda.tensor_attention_cut import cut_of
from edgecomp.schedules.cuda.tensor_bytes import ONES, Bytes, as_multiplied, of_bytes
from edgecomp.schedules.cuda.tensor_depth import DepthOrder
from edgecomp.schedules.cuda.tensor_key_order import KeyOrder
from edgecomp.schedules.cuda.tensor_operand import Layout, Operand, Room
from edgecomp.schedules.cuda.tensor_tile import WARP, Instruction, instruction_for
from edgecomp.schedules.cuda.tensor_warp import (
    Results,
    Run,
    Stage,
    own_number,
    own_rows,
    packed,
    words_of_fragments,
)
from edgecomp.schedules.gpu.builder import GridBuilder, parts_of
from edgecomp.schedules.gpu.places import gpu_of, is_multiple
from edgecomp.schedules.gpu.score_steps import ScoreSteps, start_of

#: Words that a thread has of a row where neither q nor k says how many.
_WORDS_APART = 2
INFINITY = float("inf")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """Some keys of a warp.

    Attributes:
        begin: the first.
        there: keys from it to the last, None where all are there.
    """

    begin: Expr
    there: Expr | None


class AttentionWarps(abc.ABC):
    """One kernel in the making."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind = operation.kind
        assert isinstance(kind, Attention | IntegerAttention)
        cut = cut_of(operation, target)
        assert cut is not None
        self.operation, self.kind, self.target, self.cut = operation, kind, target, cut
        stored = operation.inputs[0].stored
        instruction = instruction_for(stored, gpu_of(target))
        assert instruction is not None
        self.fragments = instruction.fragments
        #: Of q, k and v; what is behind the exponentials' own says the kernel of integers.
        self.bytes_of: tuple[Bytes, ...] = ()
        self.score_instruction = self.instruction = instruction
        if isinstance(kind, IntegerAttention):
            self.bytes_of = tuple(
                Bytes.of(value.dtype, value.quantization) for value in operation.inputs[:3]
            )
            weights = Bytes.of("uint8", kind.weights)
            q, k = as_multiplied(instruction, *self.bytes_of[:2])
            weights, v = as_multiplied(instruction, weights, self.bytes_of[2])
            self.bytes_of = (q, k, v)
            self.score_instruction = of_bytes(instruction, q, k)
            self.instruction = of_bytes(instruction, weights, v)
        *self.batch, self.rows, self.depth = kind.q.shape
        self.keys, columns = kind.v.shape[-2:]
        groups = (
            parts_of(self.rows, cut.down * self.fragments.rows),
            math.prod(self.batch),
            1,
        )
        self.builder = builder = GridBuilder(groups, (WARP, cut.slices, 1))
        self.inputs = distinct_inputs(operation)
        made = {
            value: builder.pointer(
                f"x{number}", value.storage or memory_dtype(value.dtype), value.view.elements
            )
            for number, value in enumerate(self.inputs)
        }
        output = operation.output
        self.y = builder.pointer("y", output.stored, output.view.elements)
        self.steps = ScoreSteps(
            builder,
            kind.steps,
            operation.inputs[3:],
            {value: made[value] for value in operation.inputs[3:] if value in made},
            (*self.batch, self.rows, self.keys),
        )
        self._declare_operands([made[value] for value in operation.inputs[:3]], columns)
        across = -(-columns // (self.fragments.columns * self.v.vector)) * self.v.vector
        self.results = Results(self.fragments, across, self.v.vector, columns)
        self.sums_dtype = f"{instruction.sums}x{self.fragments.sums}"
        self.scores = builder.array("scores", self.sums_dtype, cut.down * self.key_tiles)
        self.peaks = builder.array("peaks", "float32", 2 * cut.down)
        self.totals = builder.array("totals", "float32", 2 * cut.down)
        self.score_stage, self.stage = Stage.of(
            builder, cut.slices, self.score_instruction.staging, self.instruction.staging
        )

    def _declare_operands(self, buffers: Sequence[Buffer], columns: int) -> None:
        kind, builder, batch = self.kind, self.builder, tuple(self.batch)
        q = Layout.of_rows(Matrix.of(kind.q, batch, transposed=False), self.rows)
        k = Layout.of_columns(Matrix.of(kind.k, batch, transposed=True), self.keys)
        v = Layout.of_columns(Matrix.of(kind.v, batch, transposed=False), columns)
        instruction = self.instruction
        words = [found for layout in (q, k) if (found := layout.words(instruction))]
        self.order = DepthOrder(self.score_instruction, min(words, default=_WORDS_APART))
        self.depth_steps = -(-self.depth // self.order.step_elements)
        self.key_order = KeyOrder(instruction)
        self.place = builder.let("place", own_number(builder, self.fragments.place))
        is_tf32 = instruction.word == 1
        flips = [each.flip for each in self.bytes_of] or [0] * 3
        own = builder.let("own", self.place * self.order.own)
        self.q, self.k = (
            Operand(
                builder=builder,
                buffer=buffer,
                layout=layout,
                order=self.order,
                vector=0 if layout.words(instruction) else 1,
                own=own,
                flip=flip,
                is_rounded=is_tf32 and layout is k,
                has_whole_words=self.depth % instruction.word == 0,
            )
            for buffer, layout, flip in zip(buffers[:2], (q, k), flips[:2], strict=True)
        )
        of_keys = self.key_order.depth
        self.v = Operand(
            builder=builder,
            buffer=buffers[2],
            layout=v,
            order=of_keys,
            vector=v.vector(instruction),
            own=builder.let("own", self.place * of_keys.own),
            flip=flips[2],
            is_rounded=is_tf32,
            has_whole_words=is_multiple(self.keys, instruction.word),
        )

    @property
    def key_tiles(self) -> int:
        """Fragments of scores side by side."""
        return self.cut.keys // self.fragments.columns

    @property
    def row_parts(self) -> range:
        """Numbers of a thread's rows."""
        return range(2 * self.cut.down)

    def emit(self) -> None:
        """All statements."""
        builder, cut, fragments = self.builder, self.cut, self.fragments
        indices = unravel(builder, builder.group(1), self.batch)
        starts = {
            name: start_of(builder, f"{name}_start", view, indices)
            for name, view in self._views().items()
        }
        self.extra_ats = self.steps.starts(indices)
        warp = builder.group(0) * (cut.down * fragments.rows)
        self.row_numbers, q_rows = own_rows(builder, fragments, warp, cut.down)
        last = builder.size(self.rows) - 1
        last = tirx.const(last, "int32") if isinstance(last, int) else last
        self.inside = [builder.let("inside", tirx.Min(n, last)) for n in self.row_numbers]
        zeros = [constant(0, self.instruction.sums)] * fragments.sums
        self.zeros = packed(builder, "zeros", zeros, self.instruction.sums)
        self._load_q(starts["q"], q_rows)
        own_column = builder.let("own", own_number(builder, fragments.sum_column))
        self.own_key = builder.let("own", self.key_order.own(own_column))
        beside = builder.let("beside", own_number(builder, fragments.column))
        key_beside = builder.let("key_beside", self.key_order.of_column(beside))
        self.k_start, self.key_beside = starts["k"], key_beside
        columns = [
            (beside + group * self.fragments.columns) * self.v.vector
            for group in range(self.results.across // self.v.vector)
        ]
        self.v_starts = self.v.starts(starts["v"], columns)
        for part in self.row_parts:
            place = tirx.const(part, "int32")
            builder.store(self.peaks, place, constant(-INFINITY, "float32"))
            builder.store(self.totals, place, constant(0.0, "float32"))
        self._attend()
        with builder.condition(builder.item(1) < 1 if cut.slices > 1 else None):
            self._finish(starts["y"])

    @abc.abstractmethod
    def _attend(self) -> None:
        """From the first key to sums of all of them in the first warp."""

    @abc.abstractmethod
    def _result_of(self, part: int) -> Callable[[Run], Expr]:
        """What makes a run's results, of a row of a thread."""

    def _views(self) -> dict[str, View]:
        kind = self.kind
        return {"q": kind.q, "k": kind.k, "v": kind.v, "y": kind.y}

    def _load_q(self, start: Expr, numbers: Sequence[Expr]) -> None:
        """Fragments of all of this warp's rows of q, which stay in registers."""
        builder, fragments, each = self.builder, self.fragments, self.order.parts
        starts = self.q.starts(start, numbers)
        self.q_parts: list[list[Expr]] = [[] for _ in range(self.cut.down)]
        for step in range(self.depth_steps):
            rows = self.q.load(starts, *self._depth_step(step))
            words = words_of_fragments(rows, len(fragments.x_rows), each)
            if self.score_stage is not None:
                found = self.score_stage.rows(words)
            else:
                found = [packed(builder, "q", own, "int32") for own in words]
            for m, parts in enumerate(self.q_parts):
                parts += found[m * each : (m + 1) * each]
        if not self.bytes_of:
            return
        one = constant(ONES, "int32")
        self.ones = (
            packed(builder, "ones", [one] * fragments.x_words, "int32"),
            packed(builder, "ones", [one] * 2, "int32"),
        )
        self.starts_of_scores = [self._start_of_scores(parts) for parts in self.q_parts]

    def _start_of_scores(self, parts: Sequence[Expr]) -> Expr:
        """What the zero point of k adds to the scores of a fragment's rows."""
        zero_q, zero_k = (each.zero for each in self.bytes_of[:2])
        if not zero_k:
            return self.zeros
        rows = self.zeros
        for part in parts:
            rows = self._product(self.score_instruction, part, self.ones[1], rows)
        lanes = self.fragments.sums
        both = constant(zero_q * zero_k * self.depth, "int32", lanes)
        return self.builder.let(
            "start", both - rows * constant(zero_k, "int32", lanes), self.sums_dtype
        )

    def _depth_step(self, step: int) -> tuple[Expr, Room | None]:
        """Where a step of K begins, and what there is of it."""
        elements = self.order.step_elements
        begin, left = step * elements, self.depth - step * elements
        left_of = tirx.const(left, "int32")
        room = Room(left=left_of, there=left_of) if left < elements else None
        return tirx.const(begin, "int32"), room

    def each_share(self, name: str, body: Callable[[Share], None]) -> None:
        """A loop over this warp's keys, a few at once, whose scores are there then."""
        builder, cut = self.builder, self.cut
        together = cut.keys * cut.slices
        is_whole = is_multiple(self.keys, together)
        with builder.loop(name, 0, builder.parts_of(self.keys, together)) as round_:
            begin = round_ * together + builder.item(1) * cut.keys
            begin = builder.let("begin", begin)
            there: Expr = None
            if not is_whole:
                there = builder.let("there", builder.size(self.keys) - begin)
            self._score(begin)
            body(Share(begin=begin, there=there))

    def _score(self, begin: Expr) -> None:
        """Sums of q and k for some keys."""
        builder, tiles = self.builder, self.key_tiles
        for index in range(self.cut.down * tiles):
            start = self.starts_of_scores[index // tiles] if self.bytes_of else self.zeros
            builder.store(self.scores, tirx.const(index, "int32"), start)
        first = builder.let("first", begin + self.key_beside)
        keys = [first + self.key_order.of_tile(tile) for tile in range(tiles)]
        starts = self.k.starts(self.k_start, keys)
        zero_q = self.bytes_of[0].zero if self.bytes_of else 0
        of_keys: list[Expr] = [self.zeros] * tiles
        instruction, parts = self.score_instruction, self.order.parts
        for step in range(self.depth_steps):
            lines = self.k.load(starts, *self._depth_step(step))
            for index, b in enumerate(self._columns(self.score_stage, lines, parts)):
                tile, number = index // parts, step * parts + index % parts
                for m, q in enumerate(self.q_parts):
                    self._multiply(self.scores, m * tiles + tile, instruction, q[number], b)
                if zero_q:
                    of_keys[tile] = self._product(instruction, self.ones[0], b, of_keys[tile])
        if zero_q:
            each = constant(zero_q, "int32", self.fragments.sums)
            for index in range(self.cut.down * tiles):
                place = tirx.const(index, "int32")
                less = of_keys[index % tiles] * each
                builder.store(self.scores, place, load(self.scores, place) - less)
        self.take_sums(self.score_stage, self.scores, self.cut.down * tiles)

    def _columns(
        self, stage: Stage | None, lines: Sequence[Sequence[Expr]], parts: int
    ) -> list[Expr]:
        """Fragments of the second operand, those of each line one after the other."""
        words = words_of_fragments(lines, 1, parts)
        if stage is not None:
            return stage.columns(words)
        return [packed(self.builder, "b", own, "int32") for own in words]

    def take_sums(self, stage: Stage | None, sums: Buffer, count: int) -> None:
        """Sums whose order only the instruction knew become those of each thread."""
        if stage is None:
            return
        for index in range(count):
            place = tirx.const(index, "int32")
            total = stage.sums(load(sums, place), self.sums_dtype)
            self.builder.store(sums, place, total)

    def operand_of(self, rows: Sequence[Sequence[Expr]]) -> Expr:
        """The first operand of the second product.

        Args:
            rows: words of both rows of a thread's sums, as many as an instruction takes.
        """
        words = [row[number] for number in range(self.key_order.words) for row in rows]
        if self.stage is not None:
            return self.stage.exchanged(words)
        if not self.fragments.exchange:
            return packed(self.builder, "weights", words, "int32")
        dtype = f"int32x{len(words)}"
        made = tirx.call_pure_extern(dtype, self.fragments.exchange, *words)
        return self.builder.let("weights", made, dtype)

    def of_rows(self, name: str, values: Sequence[Expr]) -> Expr:
        """Numbers of both rows of a thread, each for all its sums of a fragment in that row."""
        pairs = [value for value in values for _ in range(2)]
        return packed(self.builder, name, pairs * len(self.fragments.sum_columns), "float32")

    def _multiply(
        self, sums: Buffer, index: int, instruction: Instruction, a: Expr, b: Expr
    ) -> None:
        place = tirx.const(index, "int32")
        total = self._call(instruction, a, b, load(sums, place))
        self.builder.store(sums, place, total)

    def _product(self, instruction: Instruction, a: Expr, b: Expr, total: Expr) -> Expr:
        value = self._call(instruction, a, b, total)
        return self.builder.let("product", value, self.sums_dtype)

    def _call(self, instruction: Instruction, a: Expr, b: Expr, total: Expr) -> Expr:
        return tirx.call_pure_extern(self.sums_dtype, instruction.function, a, b, total)

    def scores_of(self, part: int, share: Share) -> list[Expr]:
        """A thread's scores of a row behind all steps, in the order of keys in fragments.

        Those of keys that are not there are minus infinity.
        """
        builder, keys = self.builder, self.builder.size(self.keys)
        first = builder.let("first", share.begin + self.own_key)
        last = tirx.const(keys - 1, "int32") if isinstance(keys, int) else keys - 1
        scores: list[Expr] = []
        for behind, total in self._totals_of(part):
            key = first + behind
            inside = key
            if share.there is not None:
                key = builder.let("key", key)
                inside = builder.let("inside", tirx.Min(key, last))
            score = tirx.Cast("float32", total) if self.bytes_of else total
            value = self.steps.emit(
                score * constant(self.kind.alpha, "float32"),
                self.extra_ats,
                self.inside[part],
                inside,
            )
            if share.there is not None:
                value = tirx.Select(key < keys, value, constant(-INFINITY, "float32"))
            scores.append(builder.let("score", value, "float32"))
        return scores

    def _totals_of(self, part: int) -> Iterator[tuple[int, Expr]]:
        """Each score of a thread's row: how far behind the thread's first key, and the sum."""
        down, below = divmod(part, 2)
        for tile in range(self.key_tiles):
            index = tirx.const(down * self.key_tiles + tile, "int32")
            for pair, column in enumerate(self.fragments.sum_columns):
                for side in range(2):
                    number = 4 * pair + 2 * below + side
                    total = tirx.Shuffle([load(self.scores, index)], [number])
                    yield self.key_order.of_tile(tile) + column + side, total

    def among(self, operation: str, value: Expr) -> Expr:
        """``max`` or ``sum`` of a number over the threads that share a row."""
        return tirx.call_pure_extern("float32", f"{self.fragments.among}_{operation}", value)

    def peak_of(self, scores: Sequence[Expr]) -> Expr:
        """The largest of a thread's scores."""
        most = scores[0]
        for score in scores[1:]:
            most = tirx.max(most, score)
        return self.builder.let("most", most, "float32")

    def finite(self, peak: Expr) -> Expr:
        """What is taken off scores: 0 where all of a row are minus infinity, whose sum stays 0."""
        none = tirx.EQ(peak, constant(-INFINITY, "float32"))
        zero = constant(0.0, "float32")
        return self.builder.let("safe", tirx.Select(none, zero, peak), "float32")

    def add_up_values(
        self, sums: Buffer, share: Share, weights_of: Callable[[int, int], Expr]
    ) -> None:
        """Add products of weights and rows of v.

        Args:
            sums: fragments of results.
            share: keys.
            weights_of: the first operand for a fragment of rows, and a number among the
                instructions that the keys take.
        """
        builder, depth = self.builder, self.instruction.depth
        for number in range(self.cut.keys // depth):
            room = None
            if share.there is not None:
                left = builder.let("left", share.there - number * depth)
                room = Room(left=left, there=left)
            at = builder.let("at", share.begin + number * depth)
            lines = self.v.load(self.v_starts, at, room)
            columns = self._columns(self.stage, lines, self.key_order.depth.parts)
            weights = [weights_of(m, number) for m in range(self.cut.down)]
            for n, b in enumerate(columns):
                for m in range(self.cut.down):
                    index = m * self.results.across + n
                    self._multiply(sums, index, self.instruction, weights[m], b)

    def peaks_of_all(self) -> list[Expr]:
        """The largest score of each row among those of all warps that share it."""
        builder, cut, count = self.builder, self.cut, len(self.row_parts)
        shared = builder.shared_array("all_peaks", "float32", cut.slices * count * WARP)
        lane, own = builder.item(0), builder.item(1)
        for part in self.row_parts:
            at = own * (count * WARP) + part * WARP + lane
            builder.store(shared, at, load(self.peaks, tirx.const(part, "int32")))
        builder.barrier()
        return [
            self.peak_of(
                [
                    load(shared, lane + (other * count + part) * WARP)
                    for other in range(cut.slices)
                ]
            )
            for part in self.row_parts
        ]

    def _finish(self, y_start: Expr) -> None:
        """Rows of results that are there."""
        builder, results = self.builder, self.results
        own = builder.let("own", results.own_column(builder))
        for part, row in enumerate(self.row_numbers):
            with builder.condition(row < builder.size(self.rows)):
                result_of = self._result_of(part)
                at = y_start + row * builder.size(self.kind.y.strides[-2])
                at = builder.let("at", at)
                for run in results.runs():
                    column = builder.let("column", own + run.column)
                    with builder.condition(column < builder.size(results.columns)):
                        value = result_of(run)
                        results.store(builder, self.y, at + column, value, column)
