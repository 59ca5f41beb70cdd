"""Emits the kernel of an integer depthwise convolution: one or two rows of a few columns a tile."""

import dataclasses

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.finish import Requantize, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.sizes import Dimension, is_dynamic, largest
from edgecomp.plan.values import Array, Value, largest_bytes
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    Kernel,
    KernelBuilder,
    constant,
    load,
    pointer_to,
    ramp,
    reinterpret,
)
from edgecomp.schedules.cpu import depthwise, windows
from edgecomp.schedules.cpu.bands import cache_bands, depthwise_bands
from edgecomp.schedules.cpu.depthwise_dot import (
    Products,
    RowPlan,
    plan_rows,
    products_of,
)
from edgecomp.schedules.cpu.depthwise_dot_loop import loop_for
from edgecomp.schedules.cpu.depthwise_sums import sums_of
from edgecomp.schedules.cpu.epilogue import integer_epilogue, vector_dtype
from edgecomp.schedules.cpu.narrow import Accumulators, narrow, pick, piece_order
from edgecomp.schedules.cpu.reach import start_of
from edgecomp.schedules.cpu.residual import Addition, narrow_added
from edgecomp.schedules.cpu.windows import GroupRun, Lanes, Place, Segment, Walk


@dataclasses.dataclass(frozen=True, kw_only=True)
class Params:
    """Tile of the kernel: output rows computed together, and the walk."""

    height: int
    walk: Walk


@dataclasses.dataclass
class _Block:
    """One vector of channels: its place and where its constants start."""

    vector: Lanes
    channel: Expr
    weights: Expr
    bias: Expr
    multiplier: Expr


class Int8Kernel:
    """Emits one kernel."""

    def __init__(self, operation: Operation, target: Target, params: Params) -> None:
        kind = operation.kind
        assert isinstance(kind, Convolution)
        assert isinstance(kind.finish, Requantize | Scale)
        self.kind, self.target, self.params = kind, target, params
        self.finish: Requantize | Scale = kind.finish
        self.products: Products = products_of(target)
        self.window = depthwise.window_of(operation)
        self.plan: RowPlan = plan_rows(self.window, params.height, self.products.group)
        self.x, _, _, *residual = operation.inputs
        self.output = operation.output
        self.residual: Value | None = residual[0] if residual else None
        self.epilogue = integer_epilogue(
            kind.finish, kind.activation, kind.integer_add, self.output, self.residual
        )
        self.runs = windows.channel_groups(self.x.shape[1], params.walk)
        loop = loop_for(operation, target, params.height)
        self.loop = loop if loop and params.walk.columns <= loop.columns else None
        self._pack(operation)
        self.builder = KernelBuilder(target.core.isa)

    @property
    def bias_copies(self) -> int:
        """How often a block's biases lie behind each other: once per output of a tile or once."""
        outputs = self.params.height * self.params.walk.columns
        return outputs if self.products.loads_biases and not self.loop else 1

    def _pack(self, operation: Operation) -> None:
        """Weights per use and column; bias and multipliers in the order of the sums."""
        sums = sums_of(operation, self.target, self.products.x_dtype)
        channels, width = len(sums.taps), self.window.size[1]
        table = sums.taps.reshape(channels, *self.window.size)
        self.reach = sums.reach
        if self.loop:
            self.reach = dataclasses.replace(self.reach, offset=self.loop.narrowing.start)
        elif not self._narrows_floats():
            self.reach = dataclasses.replace(self.reach, offset=0)
        self.starts = []
        start = 0
        for use in self.plan.uses:
            self.starts.append(start)
            start += self.products.slots(use) * width

        def weights(first: int, segment: Segment) -> Array:
            block = depthwise.rows_of_channels(table, first, segment.vectors)
            parts = [
                self.products.pack(block[:, :, column], use).reshape(-1)
                for use in self.plan.uses
                for column in range(width)
            ]
            return np.concatenate(parts)

        def in_order(values: Array, copies: int = 1) -> depthwise.Packing:
            def make(first: int, segment: Segment) -> Array:
                block = depthwise.rows_of_channels(values, first, segment.vectors)
                return np.tile(block[self._order(len(block))].reshape(-1), copies)

            return depthwise.pack_blocks(self.runs, make, copies)

        self.weights = depthwise.pack_blocks(self.runs, weights, start)
        self.bias = in_order(start_of(sums.bias, self.reach), self.bias_copies)
        if self.loop:
            self.weights = self.weights.with_block_behind()
            self.multiplier = depthwise.pack(self.loop.factors(sums.multiplier), self.runs, 1)
        else:
            self.multiplier = in_order(sums.multiplier)

    def _narrows_floats(self) -> bool:
        """Whether what follows the sums takes them with an offset."""
        isa = self.target.core.isa
        adds = self.kind.integer_add is not None and isa != "aarch64"
        return isinstance(self.finish, Requantize) and not adds

    def _order(self, lanes: int) -> Array:
        """Channels as the sums hold them."""
        return piece_order(self.target, lanes)

    def build(self, name: str) -> tuple[Kernel, Dimension]:
        """Return the kernel, whose kind is ``name``, and its work items."""
        builder, view = self.builder, self.output.view
        self.x_buffer = builder.pointer("x", self.x.dtype, largest(self.x.view.elements))
        self.weight_buffer = builder.pointer(
            "weights", self.weights.data.dtype.name, self.weights.data.size
        )
        self.bias_buffer = builder.pointer("bias", "int32", self.bias.data.size)
        self.multiplier_buffer = builder.pointer(
            "multiplier", "float32", self.multiplier.data.size
        )
        if self.residual:
            self.residual_buffer = builder.pointer(
                "residual", self.residual.dtype, largest(self.residual.view.elements)
            )
        self.out_buffer = builder.pointer("out", self.output.dtype, largest(view.elements))
        rows = view.shape[0] * view.shape[2] // self.params.height
        self.bands = 1
        if not is_dynamic(rows):
            pixels = self.params.height * largest(view.shape[3])
            fitting = cache_bands(largest_bytes(self.x), self.target.core.l2_bytes)
            self.bands = depthwise_bands(self.x.shape[1], rows, pixels, fitting)
        items = windows.walk_groups(builder, self.runs, rows, self._group, self.bands)
        return builder.finish(f"{name}__{self.products.name}"), items

    def _group(self, run: GroupRun, group: Expr, begin: Expr, end: Expr) -> None:
        builder = self.builder
        channel = builder.let("channel", run.first_channel + group * run.channels)
        packings = (self.weights, self.bias, self.multiplier)
        bases = [builder.let("base", p.group_index(run, group)) for p in packings]

        def tile(row: Expr, first: Expr, columns: int) -> None:
            out_row = builder.let("first_row", row * self.params.height)
            place = Place(builder, self.window, self.x.view, self.output.view, out_row, first)
            if self.residual:
                place.add("residual", self.residual.view)

            def block(segment: Segment, index: Expr) -> None:
                at = channel + segment.first_channel + index * segment.channels
                starts = [
                    base + packing.block_offset(run, segment, index)
                    for base, packing in zip(bases, packings, strict=True)
                ]
                self._tile(_Block(segment.vectors[0], at, *starts), place, columns)

            if not self.loop:
                windows.walk_blocks(builder, run.segments, block)
                return
            for segment in run.segments:
                at = channel + segment.first_channel
                starts = [
                    base + packing.block_offset(run, segment, 0)
                    for base, packing in zip(bases, packings, strict=True)
                ]
                self._all_blocks(place, at, starts, (columns, segment.blocks))

        windows.walk_tiles(builder, self.output.shape[3], self.params.walk, begin, end, tile)

    def _all_blocks(
        self, place: Place, channel: Expr, starts: list[Expr], size: tuple[int, int]
    ) -> None:
        """The loop over some columns and blocks."""
        assert self.loop
        tile = self.loop.tile(*size)
        x = [pointer_to(self.x_buffer, place.x_index(channel, row, 0)) for row in tile.x_bases]
        buffers = (self.weight_buffer, self.bias_buffer, self.multiplier_buffer)
        tables = [pointer_to(b, start) for b, start in zip(buffers, starts, strict=True)]
        out = [
            pointer_to(self.out_buffer, place.index("out", channel, 0, row))
            for row in tile.out_bases
        ]
        self.builder.call_llvm(tile.name, tile.llvm(), *x, *tables, *out)

    def _tile(self, block: _Block, place: Place, columns: int) -> None:
        """A few columns of one or two rows of a vector of channels."""
        count = self.products.sums(block.vector.lanes)
        lanes = block.vector.lanes // count
        sums = self._start(block, columns, count, lanes)
        # Operands that wait for those of the next column of the window.
        waiting: dict[tuple[int, int], list[Expr]] = {}
        for position, users in self.window.users(columns).items():
            for index, members in enumerate(self.plan.groups):
                rows = [self._x_row(block, place, row, position) for row in members]
                operands = self.products.interleave(self.builder, rows, block.vector.lanes)
                named = [self._name("operand", operand) for operand in operands]
                for number, use in enumerate(self.plan.uses):
                    if use.group != index:
                        continue
                    joins = self.products.joins_columns(use)
                    for column, tap in users:
                        before = waiting.pop((number, column), [])
                        taps = (tap - 1, tap) if before else (tap,)
                        if joins and not before and tap + 1 < self.window.size[1]:
                            waiting[number, column] = named
                            continue
                        total = sums[use.out_row][column]
                        self._add(block, total, [*before, *named], number, taps, lanes)
        for out_row in range(self.params.height):
            for column in range(columns):
                totals = [
                    self._name("total", load(buffer, 0, lanes))
                    for buffer in sums[out_row][column]
                ]
                self._finish(block, place, totals, lanes, out_row, column)

    def _name(self, name: str, value: Expr) -> Expr:
        return self.builder.let(name, value, str(value.ty.dtype))

    def _start(
        self, block: _Block, columns: int, count: int, lanes: int
    ) -> list[list[list[Buffer]]]:
        """Sums [row][column][vector] at the bias."""
        builder = self.builder
        sums: list[list[list[Buffer]]] = [
            [[] for _ in range(columns)] for _ in range(self.params.height)
        ]
        outputs = [column for row in sums for column in row]
        for index in range(count):
            at = block.bias + index * lanes
            shared = None
            if self.bias_copies == 1:
                shared = self._name("bias", load(self.bias_buffer, at, lanes))
            for number, output in enumerate(outputs):
                own = load(self.bias_buffer, at + number * block.vector.lanes, lanes)
                output.append(builder.array("sum", "int32", lanes))
                builder.store(output[-1], ramp(0, lanes), own if shared is None else shared)
        return sums

    def _x_row(self, block: _Block, place: Place, row: int, position: int) -> Expr:
        """Bytes of one input pixel, in the signedness that the products take."""
        lanes = block.vector.lanes
        value = load(self.x_buffer, place.x_index(block.channel, row, position), lanes)
        dtype = vector_dtype(self.products.x_dtype, lanes)
        if self.x.dtype != self.products.x_dtype:
            flip = constant(
                0x80 if dtype.startswith("u") else -0x80, self.products.x_dtype, lanes
            )
            value = reinterpret(dtype, value) ^ flip
        return self.builder.let("x", value, dtype)

    def _add(
        self,
        block: _Block,
        sums: list[Buffer],
        operands: list[Expr],
        number: int,
        taps: tuple[int, ...],
        lanes: int,
    ) -> None:
        """Add the products of one use and of columns of the window beside each other."""
        use = self.plan.uses[number]
        start = self.starts[number] + taps[0] * self.products.slots(use)
        at = block.weights + start * block.vector.lanes
        weights = []
        for size in len(taps) * self.products.weight_vectors(block.vector.lanes, use):
            weights.append(load(self.weight_buffer, at, size))
            at = at + size
        totals = [load(buffer, 0, lanes) for buffer in sums]
        results = self.products.add(self.builder, totals, operands, weights)
        for buffer, result in zip(sums, results, strict=True):
            self.builder.store(buffer, ramp(0, lanes), result)

    def _finish(
        self,
        block: _Block,
        place: Place,
        totals: list[Expr],
        lanes: int,
        out_row: int,
        column: int,
    ) -> None:
        """Scale, round, add the residual, store."""
        multipliers = [
            load(self.multiplier_buffer, block.multiplier + index * lanes, lanes)
            for index in range(len(totals))
        ]
        residual = None
        if self.residual:
            at = place.index("residual", block.channel, column, out_row)
            residual = load(self.residual_buffer, at, block.vector.lanes)
        at = place.index("out", block.channel, column, out_row)
        if isinstance(self.finish, Scale):
            self._store_scaled(block, totals, multipliers, residual, at)
            return
        sums = Accumulators(totals, multipliers, self.reach)
        builder, target, dtype = self.builder, self.target, self.output.dtype
        add = self.kind.integer_add
        if add:
            assert residual is not None
            residuals = [residual]
            if target.core.isa != "aarch64":
                named = self._name("residual", residual)
                order = piece_order(target, block.vector.lanes)
                residuals = [pick([named], indices) for indices in order]
            addition = Addition(sums, self.finish, residuals, add)
            result = narrow_added(builder, target, addition, dtype)
        else:
            result = narrow(builder, target, sums, self.finish, dtype)
        windows.store_valid(self.builder, self.out_buffer, at, result, block.vector)

    def _store_scaled(
        self,
        block: _Block,
        totals: list[Expr],
        multipliers: list[Expr],
        residual: Expr | None,
        at: Expr,
    ) -> None:
        """float32 results: sums and multipliers brought into the channels' order."""
        vector = block.vector
        order = piece_order(self.target, vector.lanes)
        lanes = order.shape[1]
        where = np.argsort(order.reshape(-1)).reshape(order.shape)
        multipliers = [self._name("multiplier", value) for value in multipliers]
        for index, indices in enumerate(where):
            valid = min(lanes, vector.valid - index * lanes)
            if valid <= 0:
                break
            part = None
            if residual is not None:
                part = pick([residual], np.arange(index * lanes, (index + 1) * lanes))
            result = self.epilogue.apply(
                self.builder,
                self.target,
                pick(totals, indices),
                lanes,
                pick(multipliers, indices),
                part,
            )
            named = self._name("result", result)
            place = Lanes(0, lanes, valid)
            windows.store_valid(
                self.builder, self.out_buffer, at + index * lanes, named, place
            )
