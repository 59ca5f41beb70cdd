"""Epilogue and stores of one register tile of an implicit GEMM."""

import numpy as np

from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Expr,
    KernelBuilder,
    constant,
    load,
    pointer_to,
    ramp,
)
from edgecomp.schedules.cpu.arithmetic import RegisterTile
from edgecomp.schedules.cpu.epilogue import store_columns
from edgecomp.schedules.cpu.gemm_plan import Block, GemmPlan, Pointers
from edgecomp.schedules.cpu.narrow import (
    Accumulators,
    narrow,
    narrowed_together,
    pick,
    piece_order,
)
from edgecomp.schedules.cpu.residual import Addition, narrow_added
from edgecomp.schedules.cpu.row_tiles import TileAddresses, even_step
from edgecomp.schedules.cpu.runtime_scale import runtime_scale


class TileResults:
    """Emits what becomes of the sums of register tiles of one kernel."""

    def __init__(self, builder: KernelBuilder, plan: GemmPlan, pointers: Pointers) -> None:
        self.builder, self.plan, self.pointers = builder, plan, pointers
        self.arithmetic, self.epilogue = plan.arithmetic, plan.epilogue
        self.target = plan.target

    def finish(self, block: Block, addresses: TileAddresses, sums: RegisterTile) -> None:
        """Epilogue and stores; only the last block's last vector may be partial."""
        lanes = self.arithmetic.lanes
        tail = self.plan.product.columns % lanes
        whole = sums.vectors - bool(tail and block.is_last is not None)
        narrowed = whole if self.plan.narrows else 0
        for row in range(sums.rows if narrowed else 0):
            for first in range(0, narrowed, 4):
                count = min(4, narrowed - first)
                self._finish_bytes(block, addresses, sums, row, range(first, first + count))
        step = even_step(addresses.output_shifts)
        if self.arithmetic.stores_rows and whole and step is not None:
            self._finish_rows(block, addresses, sums, whole, step)
            narrowed = whole
        for vector in range(narrowed, sums.vectors):
            partial = tail and block.is_last is not None and vector == sums.vectors - 1
            cases: list[tuple[int, Expr | None]] = [(lanes, None)]
            if partial and self.plan.params.vectors.count == 1:
                cases = [(tail, None)]
            elif partial:
                assert block.is_last is not None
                cases = [(tail, block.is_last), (lanes, tirx.Not(block.is_last))]
            for columns, test in cases:
                with self.builder.condition(test):
                    self._finish_vector(block, addresses, sums, vector, columns)

    def _scale_index(self, block: Block, vector: int) -> Expr:
        """Of the multipliers of one of the block's vectors."""
        first = block.group * self.plan.vectors + block.vector + block.scale_shift
        return (first + vector) * self.arithmetic.lanes

    def _finish_bytes(
        self,
        block: Block,
        addresses: TileAddresses,
        sums: RegisterTile,
        row: int,
        vectors: range,
    ) -> None:
        """Some neighbouring whole vectors of columns in one row.

        The instructions take two or four vectors: missing ones are neighbours again.
        """
        builder, lanes = self.builder, self.arithmetic.lanes
        assert self.epilogue.requantize is not None
        column = (block.vector + vectors.start) * lanes
        at = self._scale_index(block, vectors.start)
        pairs = narrowed_together(self.target, vectors)
        total_of = {vector: sums.get(row, vector) for vector in vectors}
        totals = [total_of[vector] for vector in pairs]
        multipliers = [
            load(self.pointers.multiplier, at + (vector - vectors.start) * lanes, lanes)
            for vector in pairs
        ]
        accumulators = Accumulators(totals, multipliers, self.plan.reach)
        dtype, finish = self.epilogue.output_dtype, self.epilogue.requantize
        add = self.epilogue.integer_add
        if add is None:
            result = narrow(builder, self.target, accumulators, finish, dtype)
        else:
            at = addresses.residual[row] + column
            residuals = self._residuals(at, vectors, pairs)
            addition = Addition(accumulators, finish, residuals, add)
            result = narrow_added(builder, self.target, addition, dtype)
        count = len(vectors) * lanes
        if len(pairs) > len(vectors) or self.target.core.isa == "x86_64":
            order = piece_order(self.target, len(pairs) * lanes)
            result = pick([result], order.reshape(-1)[:count])
        output = ramp(addresses.output[row] + column, count)
        builder.store(self.pointers.output, output, result)

    def _residuals(self, at: Expr, vectors: range, pairs: list[int]) -> list[Expr]:
        """The residual of some neighbouring vectors, as ``narrow_added`` takes it."""
        lanes = self.arithmetic.lanes
        if self.target.core.isa == "x86_64":
            first = at - vectors.start * lanes
            return [
                load(self.pointers.residual, first + vector * lanes, lanes) for vector in pairs
            ]
        residual = load(self.pointers.residual, at, len(vectors) * lanes)
        firsts = [(vector - vectors.start) * lanes for vector in pairs]
        indices = np.concatenate([np.arange(first, first + lanes) for first in firsts])
        # Of one vector alone TVM takes no more lanes than it has.
        return [pick([residual, residual], indices)]

    def _finish_rows(
        self,
        block: Block,
        addresses: TileAddresses,
        sums: RegisterTile,
        vectors: int,
        step: int,
    ) -> None:
        """The first vectors of columns in rows that lie ``step`` elements apart."""
        builder, lanes = self.builder, self.arithmetic.lanes
        column = block.vector * lanes
        results = []
        for row in range(sums.rows):
            results.append(
                builder.array("result", self.epilogue.output_dtype, vectors * lanes)
            )
            for vector in range(vectors):
                residual = None
                if self.pointers.residual is not None:
                    at = addresses.residual[row] + column + vector * lanes
                    residual = load(self.pointers.residual, at, lanes)
                value = self.epilogue.apply(
                    builder, self.target, sums.get(row, vector), lanes, None, residual
                )
                builder.store(results[-1], ramp(vector * lanes, lanes), value)
        first = pointer_to(self.pointers.output, addresses.output[0] + column)
        self.arithmetic.store_rows(builder, results, vectors, first, step)

    def _finish_vector(
        self,
        block: Block,
        addresses: TileAddresses,
        sums: RegisterTile,
        vector: int,
        columns: int,
    ) -> None:
        """One vector of columns in every row of the tile."""
        builder, lanes = self.builder, self.arithmetic.lanes
        column = (block.vector + vector) * lanes
        multiplier = residual = shift = None
        runtime = self.pointers.runtime
        if self.pointers.multiplier is not None:
            multiplier = load(
                self.pointers.multiplier, self._scale_index(block, vector), lanes
            )
        if runtime is not None:
            index = self._scale_index(block, vector)
            shift, multiplier = runtime_scale(
                self.builder, self.epilogue, runtime, index, multiplier, lanes
            )
        for row in range(sums.rows):
            if self.pointers.residual is not None:
                residual = load(
                    self.pointers.residual, addresses.residual[row] + column, lanes
                )
            total = sums.get(row, vector)
            if self.plan.reach.offset:
                total = total - constant(self.plan.reach.offset, "int32", lanes)
            added = residual
            if runtime is not None:
                total = total - shift
                added = load(runtime.offset, index, lanes)
                if residual is not None:
                    added = added + residual
            result = self.epilogue.apply(builder, self.target, total, lanes, multiplier, added)
            at = addresses.output[row] + column
            store_columns(builder, self.pointers.output, at, result, lanes, columns)
