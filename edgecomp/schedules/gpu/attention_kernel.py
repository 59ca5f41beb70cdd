"""The kernel of an attention: a group of work items for a tile of rows of one batch."""

import dataclasses
import math as python_math
from collections.abc import Callable

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.attention import Attention
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import has_dynamic, largest
from edgecomp.plan.values import View
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, constant, load, splat
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu.elementwise import distinct_inputs
from edgecomp.schedules.cpu.nest import unravel
from edgecomp.schedules.cpu.small_types import memory_dtype
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.gpu.builder import GridBuilder, Groups, parts_of
from edgecomp.schedules.gpu.places import LANES, gpu_of, is_multiple
from edgecomp.schedules.gpu.score_steps import ScoreSteps, start_of
from edgecomp.schedules.gpu.vectors import load_vector, store_vector

_MOST_ROWS = 8
_FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True)
class AttentionTile:
    """What a group has.

    Attributes:
        rows: of q, a power of two.
        items: work items.
        keys_at_once: of one work item.
        stride: floats of local memory between rows of scores.
        joined_rows: rows whose shares are joined at once.
    """

    rows: int
    items: int
    keys_at_once: int
    stride: int
    joined_rows: int

    @property
    def row_items(self) -> int:
        """Work items for the softmax of a row."""
        return self.items // self.rows


def choose_tile(batch: int, rows: int, keys: int, gpu: Gpu) -> AttentionTile | None:
    """As many rows as local memory holds scores of, fewer where too few groups run.

    None where memory holds those of one row only, though there are more.
    """
    found = None
    most = 1 << min(_MOST_ROWS, rows).bit_length() - 1
    for count in (n for n in (8, 4, 2, 1) if n <= most):
        tile = _tile_of(count, keys, gpu)
        if tile is None or (count == 1 and rows > 1):
            continue
        found = found if found is not None and count == 1 else tile
        if batch * -(-rows // count) * tile.items >= gpu.busy_items:
            break
    return found


def _tile_of(rows: int, keys: int, gpu: Gpu) -> AttentionTile | None:
    items = gpu.group_items
    at_once = min(2, -(-keys // items))
    # Rows lie a few banks apart, so that work items of several rows read different ones.
    stride = -(-keys // (items * at_once)) * items * at_once + items // rows
    floats = gpu.local_memory_bytes // _FLOAT_BYTES - rows * stride - items - rows
    joined = min(rows, floats // (items * LANES))
    return AttentionTile(rows, items, at_once, stride, joined) if joined > 0 else None


class AttentionKernel:
    """One kernel in the making."""

    def __init__(self, operation: Operation, target: Target) -> None:
        kind, gpu = operation.kind, gpu_of(target)
        assert isinstance(kind, Attention)
        self.kind, self.operation = kind, operation
        *self.batch, self.rows, self.depth = kind.q.shape
        self.keys, self.columns = kind.v.shape[-2:]
        batch = python_math.prod(self.batch)
        tile = choose_tile(largest(batch), largest(self.rows), largest(self.keys), gpu)
        assert tile is not None
        self.tile = tile
        self.is_dynamic = has_dynamic((*self.batch, self.rows, self.keys))
        groups: Groups
        if self.is_dynamic:
            groups = (parts_of(self.rows, tile.rows), batch, 1)
        else:
            groups = (batch * -(-self.rows // tile.rows), 1, 1)
        self.builder = GridBuilder(groups, (tile.items, 1, 1))
        #: Operands of the kernel, each once.
        self.inputs = distinct_inputs(operation)
        made = {
            value: self.builder.pointer(
                f"x{number}", value.storage or memory_dtype(value.dtype), value.view.elements
            )
            for number, value in enumerate(self.inputs)
        }
        self.q, self.k, self.v = (made[value] for value in operation.inputs[:3])
        self.steps = ScoreSteps(
            self.builder,
            kind.steps,
            operation.inputs[3:],
            {value: made[value] for value in operation.inputs[3:] if value in made},
            (*self.batch, self.rows, self.keys),
        )
        self.y = self.builder.pointer(
            "y", operation.output.stored, operation.output.view.elements
        )

    def emit(self) -> None:
        """All statements."""
        builder, tile = self.builder, self.tile
        if self.is_dynamic:
            self.indices = unravel(builder, builder.group(1), self.batch)
            first = builder.group(0) * tile.rows
        else:
            row_tiles = -(-self.rows // tile.rows)
            *self.indices, number = unravel(
                builder, builder.group(0), [*self.batch, row_tiles]
            )
            first = number * tile.rows
            if self.rows % tile.rows:
                first = tirx.Min(first, tirx.const(self.rows - tile.rows, "int32"))
        self.first = builder.let("first", first)
        #: Rows of the tile from the first; of dynamic rows the image's, the last for those behind.
        self.tile_rows: list[Expr] = list(range(tile.rows))
        self.begin: Expr = self.first
        if self.is_dynamic:
            last = builder.size(self.rows) - 1
            self.tile_rows = [
                builder.let("row", tirx.Min(self.first + row, last))
                for row in range(tile.rows)
            ]
            self.begin = 0
        self.item = builder.item(0)
        self.scores = builder.shared_array("scores", "float32", tile.rows * tile.stride)
        self.parts = builder.shared_array("parts", "float32", tile.items)
        self.factors = builder.shared_array("factors", "float32", tile.rows)
        self._score()
        builder.barrier()
        self._soften()
        self._sum()

    def _start(self, name: str, view: View) -> Expr:
        """Place of the batch's element at row 0, column 0."""
        return start_of(self.builder, name, view, self.indices)

    def _score(self) -> None:
        """Scores of all keys: of several at once each work item."""
        builder, tile, kind = self.builder, self.tile, self.kind
        q_at = self._start("q_start", kind.q)
        q_at = builder.let("q_at", q_at + self.begin * builder.size(kind.q.strides[-2]))
        k_at = self._start("k_start", kind.k)
        extra_ats = self.steps.starts(self.indices)
        at_once = tile.keys_at_once
        sums = builder.array("sums", "float32", tile.rows * at_once)
        rounds = builder.parts_of(self.keys, tile.items * at_once)
        by_row, by_key = (builder.size(view.strides[-2]) for view in (kind.q, kind.k))
        q_rows = [row * by_row for row in self.tile_rows]
        with builder.loop("c", 0, rounds) as c:
            keys = [
                builder.let("key", (c * at_once + j) * tile.items + self.item)
                for j in range(at_once)
            ]
            last = builder.size(self.keys) - 1
            last = tirx.const(last, "int32") if isinstance(last, int) else last
            inside = [builder.let("inside", tirx.Min(key, last)) for key in keys]
            k_ats = [builder.let("k_at", k_at + key * by_key) for key in inside]
            for index in range(tile.rows * at_once):
                builder.store(sums, tirx.const(index, "int32"), constant(0.0, "float32"))
            whole, rest = divmod(self.depth, LANES)
            if whole:
                with builder.loop("k", 0, whole) as k:
                    moved = [builder.let("k_moved", at + k * LANES) for at in k_ats]
                    q_moved = builder.let("q_moved", q_at + k * LANES)
                    self._dots(sums, [q_moved + row for row in q_rows], moved, LANES)
            for k in range(whole * LANES, whole * LANES + rest):
                q_ats = [q_at + k + row for row in q_rows]
                self._dots(sums, q_ats, [at + k for at in k_ats], 1)
            for row in range(tile.rows):
                for j, key in enumerate(keys):
                    total = load(sums, tirx.const(row * at_once + j, "int32"))
                    score = self.steps.emit(
                        total * constant(kind.alpha, "float32"),
                        extra_ats,
                        self.begin + self.tile_rows[row],
                        inside[j],
                    )
                    builder.store(self.scores, key + row * tile.stride, score)

    def _dots(self, sums: Buffer, q_ats: list[Expr], k_ats: list[Expr], count: int) -> None:
        """``count`` neighbours along K of each row and each key."""
        builder, dtype = self.builder, typed("float32", count)
        keys = [builder.let("k_part", load_vector(self.k, at, count), dtype) for at in k_ats]
        for row, place in enumerate(q_ats):
            q = builder.let("q_part", load_vector(self.q, place, count), dtype)
            for j, key in enumerate(keys):
                index = tirx.const(row * len(keys) + j, "int32")
                both = (
                    q * key if count == 1 else tirx.call_pure_extern("float32", "dot", q, key)
                )
                builder.store(sums, index, load(sums, index) + both)

    def _soften(self) -> None:
        """Exponentials in the place of scores, and a factor for each row."""
        builder, tile = self.builder, self.tile
        share = tile.row_items
        row = builder.let("row", tirx.truncdiv(self.item, share))
        part = builder.let("part", self.item - row * share)
        base = builder.let("base", row * tile.stride)
        own, zero = builder.array("own", "float32", 1), tirx.const(0, "int32")

        def walk(body: Callable[[Expr], None]) -> None:
            with builder.loop("i", 0, builder.parts_of(self.keys, share)) as i:
                key = builder.let("at", i * share + part)
                with builder.condition(self._is_key(key, share)):
                    body(base + key)

        def fold(name: str, combine: Callable[[Expr, Expr], Expr]) -> Expr:
            """One result of a row's work items, for all of them."""
            builder.store(self.parts, self.item, load(own, zero))
            builder.barrier()
            half = share // 2
            while half:
                with builder.condition(part < half):
                    both = combine(
                        load(self.parts, self.item), load(self.parts, self.item + half)
                    )
                    builder.store(self.parts, self.item, both)
                builder.barrier()
                half //= 2
            return builder.let(name, load(self.parts, self.item - part), "float32")

        builder.store(own, zero, constant(float("-inf"), "float32"))
        walk(
            lambda at: builder.store(
                own, zero, tirx.max(load(own, zero), load(self.scores, at))
            )
        )
        peak = fold("peak", tirx.max)
        builder.barrier()
        builder.store(own, zero, constant(0.0, "float32"))

        def exponential(at: Expr) -> None:
            moved = builder.let("moved", load(self.scores, at) - peak, "float32")
            value = builder.let("weight", math.exp(builder, moved), "float32")
            builder.store(self.scores, at, value)
            builder.store(own, zero, load(own, zero) + value)

        walk(exponential)
        total = fold("total", lambda a, b: a + b)
        with builder.condition(part < 1):
            builder.store(self.factors, row, constant(1.0, "float32") / total)
        builder.barrier()

    def _is_key(self, key: Expr, together: int) -> Expr | None:
        """Whether one of several keys is there; None where all are."""
        if is_multiple(self.keys, together):
            return None
        return key < self.builder.size(self.keys)

    def _sum(self) -> None:
        """Rows of the result: vectors of columns side by side, keys in shares."""
        builder, tile, kind = self.builder, self.tile, self.kind
        lanes = LANES if self.columns % LANES == 0 else 1
        blocks = self.columns // lanes
        across = min(tile.items, 1 << (blocks - 1).bit_length())
        shares = tile.items // across
        share = builder.let("share", tirx.truncdiv(self.item, across))
        beside = builder.let("beside", self.item - share * across)
        v_at, y_at = self._start("v_start", kind.v), self._start("y_start", kind.y)
        by_row = builder.size(kind.y.strides[-2])
        y_at = builder.let("y_at", y_at + self.begin * by_row)
        dtype = typed("float32", lanes)
        totals = builder.array("totals", dtype, tile.rows)
        joined = (
            builder.shared_array("joined", dtype, tile.joined_rows * tile.items)
            if shares > 1
            else None
        )
        for group in range(-(-blocks // across)):
            block = builder.let("block", beside + group * across)
            inside = tirx.Min(block, tirx.const(blocks - 1, "int32"))
            column = builder.let("column", inside * lanes)
            for row in range(tile.rows):
                builder.store(
                    totals, tirx.const(row, "int32"), constant(0.0, "float32", lanes)
                )
            self._accumulate(totals, v_at + column, share, shares, lanes)
            for first in range(0, tile.rows, tile.joined_rows):
                rows = range(first, min(first + tile.joined_rows, tile.rows))
                if joined is not None:
                    builder.barrier()  # what was joined before is read
                    for row in rows:
                        place = self.item + (row - first) * tile.items
                        builder.store(joined, place, load(totals, tirx.const(row, "int32")))
                    builder.barrier()
                for row in rows:
                    index = tirx.const(row, "int32")
                    test = block < blocks
                    if joined is not None:
                        test = tirx.And(test, tirx.EQ(share, row % shares))
                    if self.is_dynamic:
                        test = tirx.And(test, self.first + row < builder.size(self.rows))
                    with builder.condition(test):
                        if joined is not None:
                            self._join(
                                joined, totals, row, row - first, beside, across, shares
                            )
                        factor = load(self.factors, index)
                        value = load(totals, index) * splat(factor, lanes)
                        at = y_at + (self.tile_rows[row] * by_row) + column
                        store_vector(builder, self.y, at, value, lanes)

    def _accumulate(
        self, totals: Buffer, v_at: Expr, share: Expr, shares: int, lanes: int
    ) -> None:
        """This work item's keys for all rows."""
        builder, tile, dtype = self.builder, self.tile, typed("float32", lanes)
        v_at = builder.let("v_at", v_at)
        by_key = builder.size(self.kind.v.strides[-2])
        with builder.loop("i", 0, builder.parts_of(self.keys, shares)) as i:
            key = builder.let("at", i * shares + share)
            with builder.condition(self._is_key(key, shares)):
                place = v_at + key * by_key
                value = builder.let("value", load_vector(self.v, place, lanes), dtype)
                for row in range(tile.rows):
                    index = tirx.const(row, "int32")
                    weight = splat(load(self.scores, key + row * tile.stride), lanes)
                    total = tirx.call_pure_extern(
                        dtype, "mad", weight, value, load(totals, index)
                    )
                    builder.store(totals, index, total)

    def _join(
        self,
        joined: Buffer,
        totals: Buffer,
        row: int,
        number: int,
        beside: Expr,
        across: int,
        shares: int,
    ) -> None:
        """All shares of a row, in their order."""
        builder, index = self.builder, tirx.const(row, "int32")
        start = number * self.tile.items
        builder.store(totals, index, load(joined, beside + start))
        with builder.loop("other", 1, shares) as other:
            part = load(joined, beside + other * across + start)
            builder.store(totals, index, load(totals, index) + part)
