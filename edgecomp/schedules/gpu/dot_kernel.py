"""Products of 8-bit integers by an instruction that multiplies words of four of them.

    for each place of the window, for four elements of K:
        load a word of x for each row of the tile
        for each column: load its word of weights, multiply all four and add

Weights are words of four neighbours in K, which lie as other products' elements do. Where a run of K is no
multiple of four x is read on behind it and multiplied by weights of zero: integers stay exact.

A device that multiplies signed by unsigned elements alone (Qualcomm's) takes a signed x as x + 128. Its sums
begin at ``bias - 128 sum(w)`` then, which is behind the bias: the kernel's text says which one it is.
"""

import numpy as np

from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, load, reinterpret
from edgecomp.schedules.cpu.product import RunDimension, collapse_depth
from edgecomp.schedules.gpu.dense_kernel import DeviceProduct, ProductTask
from edgecomp.schedules.gpu.places import LANES
from edgecomp.schedules.gpu.product_kernel import ProductKernel
from edgecomp.schedules.gpu.vectors import load_vector
from edgecomp.schedules.gpu.weights import Texel

#: Elements of a word.
WORD = 4
_INTS = f"int32x{LANES}"


class _DotKernel(ProductKernel):
    """One kernel in the making; the innermost dimension of K counts words."""

    def __init__(self, task: ProductTask) -> None:
        *outer, run = collapse_depth(task.product.depth)
        words = RunDimension(-(-run.size // WORD), WORD)
        self.is_signed = task.x_dtype == "int8"
        self.bias_sets = 2 if self.is_signed else 1
        super().__init__(task, (*outer, words), "int32")
        self.multiply = "dot4_s8" if self.is_signed else "dot4_u8"

    def _start(self, vector: int) -> Expr:
        start = super()._start(vector)
        if not self.is_signed:
            return start
        behind = self.product.groups * self.padded_columns + vector * LANES
        other = load_vector(self.bias, self.constant_at + behind, LANES)
        return tirx.call_pure_extern(_INTS, "dot4_start", start, other)

    def _accumulate_run(self, x_at: Expr, weight_at: Expr) -> None:
        builder, words = self.builder, self.depth[-1].size
        if words == 1:
            self._step_of_words(x_at, weight_at)
            return
        with builder.loop("k", 0, words) as k:
            self._step_of_words(
                builder.let("x_at", x_at + k * WORD),
                self.weights.walk(weight_at, k),
            )

    def _step_of_words(self, x_at: Expr, weight_at: Expr | Texel) -> None:
        """A word of x of each row, and of the weights of each column."""
        builder, tile = self.builder, self.tile
        xs = []
        for row in range(tile.rows):
            place = x_at + row * self.distance(self.inner.x)
            bytes_of_word = self.x.load(place, WORD)
            xs.append(builder.let("x", reinterpret("int32", bytes_of_word), "int32"))
        for vector in range(tile.vectors):
            weight = builder.let("w", self.weights.load(weight_at, 0, vector), _INTS)
            for row, x in enumerate(xs):
                index = self._sum_index(row, vector)
                total = load(self.sums, index)
                total = tirx.call_pure_extern(_INTS, self.multiply, x, weight, total)
                builder.store(self.sums, index, total)


def emit_dot_product(task: ProductTask) -> DeviceProduct:
    """The kernel of a product of 8-bit integers."""
    made = _DotKernel(task)
    made.emit()
    groups, columns = task.product.groups, task.product.columns
    run, words = collapse_depth(task.product.depth)[-1].size, made.depth[-1].size
    kept = task.weight.reshape(groups * columns, -1, run)
    whole = np.pad(kept, ((0, 0), (0, 0), (0, words * WORD - run)))
    of_words = np.ascontiguousarray(whole).view(np.int32).reshape(groups * columns, -1)
    return made.finished(f"dot_{task.name}", made.weights.pack(of_words), *_begins(task))


def _begins(task: ProductTask) -> tuple[Array, ...]:
    """Where sums of x + 128 begin; nothing where x is not signed."""
    if task.x_dtype != "int8":
        return ()
    sums = task.weight.reshape(len(task.weight), -1).sum(axis=1, dtype=np.int64)
    return ((task.bias.reshape(-1) - 128 * sums).astype(np.int32),)
