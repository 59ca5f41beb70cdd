"""Attention of floats on tensor cores.

    for a few keys:
        scores, the steps behind them, and the largest so far of every row
        exponentials of the scores less that, in the place of scores
        sums of exponentials, and of their products with rows of v, both brought to the new largest
    join the warps that share rows; divide

Exponentials are rounded as the values are stored, to tf32 where these are float32; their own sum is
float32. What a warp that has no keys left adds is zero.
"""

import dataclasses
from collections.abc import Callable, Sequence

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Expr, constant, load, reinterpret
from edgecomp.schedules.cuda.tensor_attention_warps import AttentionWarps, Share
from edgecomp.schedules.cuda.tensor_warp import Run, add_up_slices, packed

_WORDS = {"float16": "word_f16", "bfloat16": "word_bf16"}


@dataclasses.dataclass(frozen=True)
class _Softened:
    """Some keys of a row: exponentials, and what sums of those before are multiplied by."""

    factor: Expr
    weights: list[Expr]


class TensorAttentionKernel(AttentionWarps):
    """One kernel in the making."""

    def __init__(self, operation: Operation, target: Target) -> None:
        super().__init__(operation, target)
        self.word_of = _WORDS.get(operation.inputs[0].stored)
        #: Fragments of results, then for each one down the sums of exponentials.
        self.tiles = self.cut.down * self.results.across
        self.sums = self.builder.array("sums", self.sums_dtype, self.tiles + self.cut.down)

    def _attend(self) -> None:
        """See the base class."""
        for index in range(self.tiles):
            self.builder.store(self.sums, tirx.const(index, "int32"), self.zeros)
        self.each_share("round", self._take_share)
        self._join()

    def _take_share(self, share: Share) -> None:
        """Add what some keys give."""
        rows = [self._soften(part, share) for part in self.row_parts]
        self._bring_to_peak([row.factor for row in rows])

        def weights_of(m: int, number: int) -> Expr:
            return self._weights(rows[2 * m : 2 * m + 2], number)

        self.add_up_values(self.sums, share, weights_of)

    def _soften(self, part: int, share: Share) -> _Softened:
        """Exponentials of a row's scores; its largest score and their sum are kept."""
        builder, place = self.builder, tirx.const(part, "int32")
        scores = self.scores_of(part, share)
        before = builder.let("before", load(self.peaks, place), "float32")
        most = self.among("max", self.peak_of(scores))
        peak = builder.let("peak", tirx.max(before, most), "float32")
        builder.store(self.peaks, place, peak)
        safe = self.finite(peak)
        factor = builder.let("factor", _exponential(before - safe), "float32")
        weights = [
            builder.let("weight", _exponential(score - safe), "float32") for score in scores
        ]
        total = load(self.totals, place) * factor
        for weight in weights:
            total = total + weight
        builder.store(self.totals, place, total)
        return _Softened(factor, weights)

    def _weights(self, rows: Sequence[_Softened], number: int) -> Expr:
        """Exponentials of both rows as the second product's first operand, for some keys."""
        each, count = self.instruction.word, self.key_order.words
        words: list[list[Expr]] = []
        for row in rows:
            words.append([])
            for place in range(number * count, (number + 1) * count):
                own = row.weights[place * each : (place + 1) * each]
                if self.word_of is None:
                    words[-1].append(reinterpret("int32", own[0]))
                else:
                    words[-1].append(tirx.call_pure_extern("int32", self.word_of, *own))
        return self.operand_of(words)

    def _bring_to_peak(self, factors: Sequence[Expr]) -> None:
        """Results so far, less than before by as much as the largest score of each row grew."""
        builder, across = self.builder, self.results.across
        for m in range(self.cut.down):
            factor = self.of_rows("factors", factors[2 * m : 2 * m + 2])
            for n in range(across):
                place = tirx.const(m * across + n, "int32")
                builder.store(self.sums, place, load(self.sums, place) * factor)

    def _join(self) -> None:
        """Sums of exponentials of whole rows; those of all warps in the first one."""
        builder, cut = self.builder, self.cut
        totals = [
            self.among("sum", load(self.totals, tirx.const(part, "int32")))
            for part in self.row_parts
        ]
        totals = [builder.let("total", total, "float32") for total in totals]
        if cut.slices > 1:
            factors = []
            for part, peak in enumerate(self.peaks_of_all()):
                own = load(self.peaks, tirx.const(part, "int32"))
                factor = _exponential(own - self.finite(peak))
                factors.append(builder.let("factor", factor, "float32"))
                totals[part] = totals[part] * factors[-1]
            self._bring_to_peak(factors)
        for m in range(cut.down):
            place = tirx.const(self.tiles + m, "int32")
            builder.store(self.sums, place, self.of_rows("both", totals[2 * m : 2 * m + 2]))
        if cut.slices > 1:
            tiles = self.tiles + cut.down
            add_up_slices(builder, self.sums, self.sums_dtype, tiles, cut.slices)

    def _result_of(self, part: int) -> Callable[[Run], Expr]:
        """See the base class."""
        builder, (m, below) = self.builder, divmod(part, 2)
        index = tirx.const(self.tiles + m, "int32")
        total = tirx.Shuffle([load(self.sums, index)], [2 * below])
        factor = builder.let("factor", constant(1.0, "float32") / total, "float32")

        def result(run: Run) -> Expr:
            values = []
            for across, number in run.places:
                place = tirx.const(m * self.results.across + across, "int32")
                value = tirx.Shuffle([load(self.sums, place)], [number + 2 * below])
                values.append(value * factor)
            return packed(builder, "value", values, "float32")

        return result


def _exponential(x: Expr) -> Expr:
    return tirx.call_pure_extern("float32", "exp", x)
