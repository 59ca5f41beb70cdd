"""Inner steps of a matrix product: one class per pair of number formats and instruction.

An arithmetic pairs the meaning (accumulator += x * weight over a group of K) with the
instruction that does it, and says how the weights must lie for it:
``[K / group][columns][group]``, one vector of accumulators holding ``lanes`` columns.
"""

import abc
import dataclasses
import fractions
from collections.abc import Callable

import numpy as np

from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import (
    Buffer,
    Expr,
    KernelBuilder,
    constant,
    load,
    ramp,
)

#: Cycles that a load costs beyond its slot: some wait for a bank or a line (fitted).
LOAD_PRESSURE = 0.1


@dataclasses.dataclass
class RegisterTile:
    """Accumulators of ``rows`` x ``vectors``.

    One small array per row: LLVM keeps them in registers.
    """

    rows: int
    vectors: int
    lanes: int
    sums: list[Buffer]

    def get(self, row: int, vector: int) -> Expr:
        """The accumulators of one row and vector."""
        return load(self.sums[row], vector * self.lanes, self.lanes)

    def set(self, builder: KernelBuilder, row: int, vector: int, value: Expr) -> None:
        """Replace them."""
        builder.store(self.sums[row], ramp(vector * self.lanes, self.lanes), value)


@dataclasses.dataclass(frozen=True)
class Start:
    """What accumulators start from.

    Attributes:
        bias: its buffer; None for 0.
        index: of the first row's.
        row_stride: elements between the biases of neighbouring rows; 0 where they share them.
    """

    bias: Buffer | None = None
    index: Expr = 0
    row_stride: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Operands:
    """Where a step reads.

    Attributes:
        x: buffer of x.
        x_rows: index of each row's first element of K.
        x_shifts: elements of x from the first row to each, where they are known.
        x_stride: elements of x between neighbours in K; only float32 takes others than 1.
        weights: buffer of the weights.
        weight_index: of the first group of K.
        weight_stride: elements between groups of K; 0 is a packed panel.
        elements: of K that there are, where the last group has fewer; 0 for all of the groups.
    """

    x: Buffer
    x_rows: list[Expr]
    x_shifts: tuple[int, ...] = ()
    x_stride: int = 1
    weights: Buffer
    weight_index: Expr
    weight_stride: int = 0
    elements: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arithmetic(abc.ABC):
    """See the module. All counts are in elements unless named otherwise.

    Attributes:
        name: of the instruction set, the ``__`` part of kernel names.
        x_dtype: of x as the step reads it.
        weight_dtype: of the packed weights.
        sum_dtype: of accumulators and bias.
        lanes: columns that one vector of accumulators holds.
        group: elements of K that lie side by side in the packed weights.
        step: elements of K that one full step consumes, a multiple of group.
        steps_per_loop: full steps in the body of the loop over K. More than one saves the
            loop's own instructions; where x takes as many registers as NEON's float32 tiles
            give it, LLVM then spills.
        loads_per_cycle: vector loads the core starts per cycle.
        multiplies_per_cycle: vectors times row that the core multiplies per cycle and group.
        latency_cycles: of one accumulation, which bounds small tiles.
        finish_cycles: to store one vector of results.
        loads_biases: whether accumulators start by loads from memory rather than by copies of
            registers: where loads in pairs take no more instructions.
        stores_rows: whether it has ``store_rows``.
        weights_per_element: weights of one column that an element of the packed ones holds; it
            divides ``group``.
        shift: sums count every product ``2**shift`` times; so do the biases that they start from.
        ragged: whether x may not be read behind the end of a run: ``Operands.elements`` says
            what there is. Elsewhere what is read there is multiplied by weights of 0.
    """

    name: str
    x_dtype: str
    weight_dtype: str
    sum_dtype: str
    lanes: int
    group: int = 1
    step: int = 1
    steps_per_loop: int = 1
    multiplies_per_cycle: float = 2.0
    latency_cycles: float = 4.0
    loads_per_cycle: float = 2.0
    finish_cycles: float = 2.0
    loads_biases: bool = False
    stores_rows: bool = False
    weights_per_element: int | fractions.Fraction = 1
    shift: int = 0
    ragged: bool = False

    @property
    def weight_bytes(self) -> int:
        """Bytes of one element of the packed weights."""
        return np.dtype(self.weight_dtype).itemsize

    @property
    def x_bytes(self) -> int:
        """Bytes of one element of x."""
        return np.dtype(self.x_dtype).itemsize

    @abc.abstractmethod
    def fits(self, rows: int, vectors: int, registers: int) -> bool:
        """Whether a tile of this size stays in registers."""

    @abc.abstractmethod
    def accumulate(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, groups: int
    ) -> None:
        """Add ``groups`` groups of K.

        Args:
            builder: receives the statements.
            tile: accumulators.
            operands: where x and the weights of the first group lie.
            groups: at most ``step / group``.
        """

    def accumulate_run(
        self, builder: KernelBuilder, tile: RegisterTile, operands: Operands, length: int
    ) -> bool:
        """Add a whole contiguous run of K, if the arithmetic has a loop of its own for that.

        Args:
            builder: receives the statements.
            tile: accumulators.
            operands: where the run starts; with ``x_shifts``.
            length: elements of K, padding included.

        Returns:
            False where the caller has to make the loop.
        """
        del builder, tile, operands, length
        return False

    def store_rows(
        self, builder: KernelBuilder, rows: list[Buffer], vectors: int, first: Expr, step: int
    ) -> None:
        """Store a tile of results; only where ``stores_rows``.

        Args:
            builder: receives the statements.
            rows: the first ``vectors`` vectors of each go out.
            vectors: of each row.
            first: pointer to where the first row goes.
            step: elements from one row to the next.
        """
        raise NotImplementedError

    def along_depth(
        self, builder: KernelBuilder, depth: Expr, emit: Callable[[Expr, int], None]
    ) -> None:
        """Emit a loop over full steps of K, then what is left of it.

        Args:
            builder: receives the loop.
            depth: elements of K; only float32 takes an int32 of the kernel.
            emit: gets the first element of K and how many.
        """
        if not isinstance(depth, int):
            whole = builder.let("whole", tirx.truncdiv(depth, self.step))
            with builder.loop("k", 0, whole) as k:
                emit(k.astype("int64") * self.step, self.step)
            with builder.loop("k", whole * self.step, depth) as k:
                emit(k, 1)
            return
        steps, rest = divmod(depth, self.step)
        if steps:
            with builder.loop("k", 0, steps) as k:
                emit(k.astype("int64") * self.step, self.step)
        if rest:
            emit(steps * self.step, rest)

    def step_cycles(self, rows: int, vectors: int, registers: int) -> float:
        """Cycles per group of K: the slowest of multiplies, loads and latency."""
        del registers
        multiplies = rows * vectors / self.multiplies_per_cycle
        loads = (rows + vectors) / self.loads_per_cycle
        return max(multiplies, loads, self.latency_cycles) + LOAD_PRESSURE * (rows + vectors)

    def loop_steps(self, steps: int) -> int:
        """Full steps in the body of a loop over ``steps`` of them."""
        del steps
        return self.steps_per_loop

    def finish_row_cycles(self, vectors: int) -> float:
        """Cycles to start and to store one row of a tile."""
        return vectors * self.finish_cycles

    def arrange(self, block: Array) -> Array:
        """Order of one column block's weights [runs, groups of K, columns, group], flat."""
        return block.reshape(-1)

    def row_stride(self, depth: int) -> int:
        """Elements from one row of x to the next where a kernel lays rows side by side itself."""
        return -(-depth // self.lanes) * self.lanes

    def quad_parts(self, quads: Expr) -> list[Expr]:
        """A vector of columns of four elements of K, as a kernel packs them while it runs.

        Args:
            quads: int32 [lanes], each of four signed bytes.

        Returns:
            For each group of K in order, [columns][group] of ``weight_dtype``.
        """
        raise NotImplementedError

    def panel_width(self, vectors: int) -> fractions.Fraction:
        """Elements of the packed weights of so many vectors, for an element of K."""
        return fractions.Fraction(vectors * self.lanes) / self.weights_per_element

    def panel_index(self, vectors: int, depth: Expr) -> Expr:
        """Elements of a panel before an element of K that begins a group."""
        width = self.panel_width(vectors)
        elements = depth * width.numerator
        if width.denominator == 1:
            return elements
        if isinstance(elements, int):
            return elements // width.denominator
        return tirx.truncdiv(elements, width.denominator)

    def weight_at(
        self, tile: RegisterTile, operands: Operands, group: int, vector: int
    ) -> Expr:
        """Index of one vector of weights."""
        size = self.lanes * self.group // self.weights_per_element
        stride = operands.weight_stride or tile.vectors * size
        return operands.weight_index + group * stride + vector * size

    def begin(
        self, builder: KernelBuilder, rows: int, vectors: int, start: Start
    ) -> RegisterTile:
        """Accumulators of a tile."""
        sums = self.sums(builder, rows, vectors)
        tile = RegisterTile(rows, vectors, self.lanes, sums)
        for vector in range(vectors):
            for row in range(rows):
                value = constant(0, self.sum_dtype, self.lanes)
                if start.bias is not None:
                    at = start.index + (row * start.row_stride + vector * self.lanes)
                    value = load(start.bias, at, self.lanes)
                tile.set(builder, row, vector, value)
        return tile

    def sums(self, builder: KernelBuilder, rows: int, vectors: int) -> list[Buffer]:
        """An array of accumulators per row."""
        elements = vectors * self.lanes
        return [builder.array("sum", self.sum_dtype, elements) for _ in range(rows)]

    def finish(self, builder: KernelBuilder, tile: RegisterTile) -> RegisterTile:
        """Bring the accumulators into [row][column] order."""
        del builder
        return tile
