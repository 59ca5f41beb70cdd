"""Attention of 8-bit integers on tensor cores.

    for a few keys: scores, the steps behind them, and the largest of every row
    for a few keys:
        the scores again, and their exponentials less the largest, in float32
        sums of exponentials; sums of their 8 bits with rows of v, exact in int32
    add up the warps that share rows; scale, divide, quantize

What 8 bits an exponential becomes depends on the largest score of all: so scores are formed twice,
which costs less than it would to keep them. The order of keys matters to the float sums of
exponentials alone.
"""

from collections.abc import Callable, Sequence

from edgecomp.device.target import Target
from edgecomp.plan.attention import IntegerAttention
from edgecomp.plan.operations import Operation
from edgecomp.plan.values import Value
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, load, splat
from edgecomp.schedules.cpu import math
from edgecomp.schedules.cpu.quantize import narrowing
from edgecomp.schedules.cpu.vectors import typed
from edgecomp.schedules.cuda.tensor_attention_warps import AttentionWarps, Share
from edgecomp.schedules.cuda.tensor_warp import Run, add_up_slices, packed
from edgecomp.schedules.gpu.places import flat_target
from edgecomp.schedules.gpu.quantize import quotient

_BYTE_BITS = 8


class TensorIntegerAttentionKernel(AttentionWarps):
    """One kernel in the making."""

    def __init__(self, operation: Operation, target: Target) -> None:
        super().__init__(operation, target)
        kind, builder, cut = operation.kind, self.builder, self.cut
        assert isinstance(kind, IntegerAttention)
        self.beta = kind.beta
        weights = Value("weights", (), "uint8", quantization=kind.weights)
        plain = flat_target(target)
        self.narrow_weight = narrowing(builder, weights, plain, quotient)
        self.narrow = narrowing(builder, operation.output, plain, quotient)
        self.zero_v = self.bytes_of[2].zero
        #: Fragments of results, then for each one down, where v has a zero point, sums of weights.
        self.tiles = cut.down * self.results.across
        self.all_tiles = self.tiles + (cut.down if self.zero_v else 0)
        self.sums = builder.array("sums", self.sums_dtype, self.all_tiles)

    def _attend(self) -> None:
        """See the base class."""
        builder, cut = self.builder, self.cut
        self.each_share("round", self._find_peaks)
        for part in self.row_parts:
            place = tirx.const(part, "int32")
            peak = self.among("max", load(self.peaks, place))
            builder.store(self.peaks, place, peak)
        peaks = [load(self.peaks, tirx.const(part, "int32")) for part in self.row_parts]
        if cut.slices > 1:
            peaks = self.peaks_of_all()
        self.safe = [self.finite(peak) for peak in peaks]
        for index in range(self.all_tiles):
            builder.store(self.sums, tirx.const(index, "int32"), self.zeros)
        self.each_share("again", self._take_share)
        self._join()

    def _find_peaks(self, share: Share) -> None:
        for part in self.row_parts:
            place = tirx.const(part, "int32")
            most = self.peak_of(self.scores_of(part, share))
            self.builder.store(self.peaks, place, tirx.max(load(self.peaks, place), most))

    def _take_share(self, share: Share) -> None:
        """Add what some keys give."""
        rows = [self._soften(part, share) for part in self.row_parts]

        def weights_of(m: int, number: int) -> Expr:
            weights = self._weights(rows[2 * m : 2 * m + 2], number)
            if self.zero_v:
                at = self.tiles + m
                self._multiply(self.sums, at, self.instruction, weights, self.ones[1])
            return weights

        self.add_up_values(self.sums, share, weights_of)

    def _soften(self, part: int, share: Share) -> list[Expr]:
        """8 bits of the exponentials of a row's scores, whose float sum is kept."""
        builder, place = self.builder, tirx.const(part, "int32")
        total, found = load(self.totals, place), []
        for score in self.scores_of(part, share):
            moved = builder.let("moved", score - self.safe[part], "float32")
            weight = builder.let("weight", math.exp(builder, moved), "float32")
            total = total + weight
            narrow = tirx.Cast("int32", self.narrow_weight(weight))
            found.append(builder.let("narrow", narrow))
        builder.store(self.totals, place, total)
        return found

    def _weights(self, rows: Sequence[list[Expr]], number: int) -> Expr:
        """Both rows as the second product's first operand, for some keys."""
        each, count = self.instruction.word, self.key_order.words
        words: list[list[Expr]] = []
        for row in rows:
            words.append([])
            for first in range(number * count * each, (number + 1) * count * each, each):
                word = row[first]
                for place in range(1, each):
                    word = word | (row[first + place] << (place * _BYTE_BITS))
                words[-1].append(word)
        return self.operand_of(words)

    def _join(self) -> None:
        """Sums of whole rows; those of all warps in the first one."""
        builder, cut = self.builder, self.cut
        dtype = f"float32x{self.fragments.sums}"
        totals = builder.array("row_totals", dtype, cut.down)
        for m in range(cut.down):
            both = []
            for part in (2 * m, 2 * m + 1):
                total = self.among("sum", load(self.totals, tirx.const(part, "int32")))
                both.append(builder.let("total", total, "float32"))
            builder.store(totals, tirx.const(m, "int32"), self.of_rows("both", both))
        self.row_totals = totals
        self.take_sums(self.stage, self.sums, self.all_tiles)
        if cut.slices > 1:
            add_up_slices(builder, self.sums, self.sums_dtype, self.all_tiles, cut.slices)
            add_up_slices(builder, totals, dtype, cut.down, cut.slices)

    def _result_of(self, part: int) -> Callable[[Run], Expr]:
        """See the base class."""
        builder, lanes, (m, below) = self.builder, self.results.lanes, divmod(part, 2)
        row = tirx.Shuffle([load(self.row_totals, tirx.const(m, "int32"))], [2 * below])
        row = builder.let("row_total", row, "float32")

        def sum_of(index: int, number: int) -> Expr:
            return tirx.Shuffle(
                [load(self.sums, tirx.const(index, "int32"))], [number + 2 * below]
            )

        def result(run: Run) -> Expr:
            values = []
            for across, number in run.places:
                total = sum_of(m * self.results.across + across, number)
                if self.zero_v:
                    total = total - sum_of(self.tiles + m, number) * self.zero_v
                values.append(total)
            value = tirx.Cast(typed("float32", lanes), packed(builder, "sum", values, "int32"))
            value = value * constant(self.beta, "float32", lanes)
            return self.narrow(value / splat(row, lanes))

        return result
