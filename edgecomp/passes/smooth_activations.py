"""Move what is hard to store in 8 bits from activations into weights.

    LayerNormalization(g, b) -> MatMul(W)   =>   LayerNormalization(g / s, b / s) -> MatMul(s W)
    s[c] = max|x[c]|^a / max|W[c]|^(1 - a), rounded to a power of two

(Xiao, Lin, Seznec, Wu, Demouth, Han, "SmoothQuant: Accurate and efficient post-training
quantization for large language models", ICML 2023, section 4.) A channel of the activations that
is a hundred times larger than the others decides the scale of all; its weights can take it. The
strength ``a`` is given, or searched for each region: the one of least squared error of the
products that read it, with their inputs and weights rounded to 8 bits, on rows of the calibration
data (the search of Lin et al., "AWQ: Activation-aware weight quantization", MLSys 2024, section
3.2, whose weights alone are rounded).

Whatever makes the channels takes the other side of the scale: normalisations, products, Mul by a
row, through all that ``scales.rules`` lets it through. Where something else makes or reads them
(Gelu, Softmax, a residual sum that a normalisation reads) the channels keep their scale, but for
normalisations that ``split_normalisations`` gave a row of their own. Powers of two for the reason
in ``equalize_layers``.
"""

from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.calibrate.product_inputs import ProductInputs
from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.match import is_operator, producer
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse
from edgecomp.passes.scales.apply import (
    LARGEST_EXPONENT,
    apply_exponents,
    as_matrix,
    spread_inputs,
)
from edgecomp.passes.scales.region import Ids, Place, Region, is_asked_for
from edgecomp.passes.scales.rules import NORMALISATIONS, start_region
from edgecomp.passes.split_normalisations import is_split

Real = npt.NDArray[np.float64]

_STARTS = ("Conv", "Gemm", "MatMul", "Mul", *NORMALISATIONS)
#: Strengths that the search tries; without any move is always one of the candidates.
_STRENGTHS = tuple(np.linspace(0.0, 1.0, 11))
#: A move has to take this part of the error away: rounding noise moves nothing.
_LEAST_GAIN = 0.02


class SmoothActivationsPass(ir.passes.InPlacePass):
    """Move scales from activations into the weights that read them.

    Scope: main graph.  Numerics: exact.

    Args:
        inputs: of products, by the node's name, as ``observe_inputs`` finds them for
            ``products_to_observe``; with rows for the search. A run uses them up: they describe
            the model before it.
        alpha: strength from 0 (weights become equal) to 1 (activations become equal), None to
            search.
        only: names of the products whose inputs are smoothed, None for all.

    Attributes:
        error_before: squared errors of the products over their squares, summed over all that were
            searched, as they were.
        error: the same with the strengths that were chosen.
    """

    numerics = Numerics.EXACT

    def __init__(
        self,
        inputs: Mapping[str, ProductInputs],
        alpha: float | None,
        only: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        self.error_before = self.error = 0.0
        self._only = only
        self._inputs = dict(inputs)
        self._alpha = alpha

    def call(self, model: ir.Model) -> Outcome:
        """Find the regions, choose their scales, rewrite both ends."""
        regions, refusals = _regions(model.graph, self._only)
        notes: list[str] = []
        # From the end: what a region does to the outputs of its sources counts for the region
        # that they read.
        for region in reversed(regions):
            if any((place.node.name or "") not in self._inputs for place in region.readers):
                refusals.append(_refuse(region, "its readers were not observed"))
                continue
            exponents, strength = self._choose(region)
            if not exponents.any():
                continue
            self._follow(region, exponents)
            count = np.count_nonzero(exponents)
            notes.append(
                f"{region.start.name}: {count} of {region.size} channels rescaled, "
                f"alpha {strength:.2g}"
            )
            apply_exponents([(region, exponents)])
        for place in (place for region in regions for place in region.readers):
            self._inputs.pop(place.node.name or "", None)
        return finish(type(self).__name__, model, len(notes), refusals, notes)

    def _choose(self, region: Region) -> tuple[Ids, float]:
        if self._alpha is not None:
            return self._exponents(region, self._alpha), self._alpha
        best, strength = np.zeros(region.size, np.int64), 0.0
        before = found = self._error(region, best)
        for alpha in _STRENGTHS:
            exponents = self._exponents(region, alpha)
            error = self._error(region, exponents)
            if error < min(found, before * (1.0 - _LEAST_GAIN)):
                found, best, strength = error, exponents, alpha
        self.error_before += before
        self.error += found
        return best, strength

    def _exponents(self, region: Region, alpha: float) -> Ids:
        read, weight = np.zeros(region.size + 1), np.zeros(region.size + 1)
        for place in region.readers:
            seen = self._inputs[place.node.name or ""]
            np.maximum.at(read, place.ids, np.maximum(-seen.low, seen.high))
            np.maximum.at(weight, place.ids, _largest_per_input(place))
        usable = region.free() & (read[:-1] > 0) & (weight[:-1] > 0)
        logs = np.zeros(region.size)
        logs[usable] = alpha * np.log2(read[:-1][usable])
        logs[usable] -= (1.0 - alpha) * np.log2(weight[:-1][usable])
        # One scale for all channels changes nothing: the median channel keeps its own.
        logs[usable] -= np.rint(np.median(logs[usable])) if usable.any() else 0.0
        return np.clip(np.rint(logs), -LARGEST_EXPONENT, LARGEST_EXPONENT).astype(np.int64)

    def _error(self, region: Region, exponents: Ids) -> float:
        by_id = np.append(exponents, 0)
        return sum(
            _rounding_error(place, self._inputs[place.node.name or ""], by_id[place.ids])
            for place in region.readers
        )

    def _follow(self, region: Region, exponents: Ids) -> None:
        by_id = np.append(exponents, 0)
        for place in region.readers:
            shift = -by_id[place.ids]
            seen = self._inputs[place.node.name or ""]
            groups, inputs = seen.rows.shape[1:3]
            self._inputs[place.node.name or ""] = ProductInputs(
                np.ldexp(seen.low, shift),
                np.ldexp(seen.high, shift),
                np.ldexp(seen.rows, shift.reshape(groups, inputs, 1)),
            )


def products_to_observe(graph: ir.Graph, only: Collection[str] | None = None) -> list[ir.Node]:
    """The products whose inputs decide, where those named ``only`` are smoothed."""
    regions, _ = _regions(graph, only)
    return list(dict.fromkeys(place.node for region in regions for place in region.readers))


def products_behind_normalisations(graph: ir.Graph) -> list[ir.Node]:
    """Of those the ones that read channels which a normalisation makes, or a row behind one."""
    regions, _ = _regions(graph, None)
    behind = [
        place.node
        for region in regions
        if is_operator(region.start, *NORMALISATIONS) or is_split(region.start)
        for place in region.readers
    ]
    return list(dict.fromkeys(behind))


def _regions(
    graph: ir.Graph, only: Collection[str] | None
) -> tuple[list[Region], list[Refusal]]:
    regions: list[Region] = []
    refusals: list[Refusal] = []
    seen: set[ir.Value] = set()
    # A row that was put in for this begins a region of its own, within its normalisation's.
    for node in sorted(graph, key=lambda node: not is_split(node)):
        if not is_operator(node, *_STARTS) or node.outputs[0] in seen:
            continue
        region = start_region(node)
        if region is None:
            continue
        seen.update(region.values)
        asked = [is_asked_for(place.node, only) for place in region.readers]
        if not (any(asked) or is_asked_for(node, only)):
            continue
        if not region.free().any():
            refusals.append(_refuse(region, region.reason or "no product reads its channels"))
        elif not all(asked):
            refusals.append(
                _refuse(region, "layers that are no targets read its channels too")
            )
        else:
            regions.append(region)
    place = {node: index for index, node in enumerate(graph)}
    return sorted(regions, key=lambda region: place[region.start]), refusals


def _refuse(region: Region, reason: str) -> Refusal:
    """Said of a row's normalisation: rows that nothing is moved into are removed again."""
    start = region.start
    made_for = producer(start.inputs[0], *NORMALISATIONS) if is_split(start) else None
    return refuse(made_for or start, reason)


def _matrix(place: Place) -> AnyArray:
    weight = constant_array(place.node.inputs[1])
    assert weight is not None
    return as_matrix(place.node, weight)


def _largest_per_input(place: Place) -> Real:
    matrix = np.abs(_matrix(place)).max(axis=2)
    groups = len(place.ids) // matrix.shape[1]
    largest: Real = matrix.reshape(groups, -1, matrix.shape[1]).max(axis=1).reshape(-1)
    return largest.astype(np.float64)


def _rounding_error(place: Place, seen: ProductInputs, shift: Ids) -> float:
    """Squared error of a product's results in 8 bits, over their own squares."""
    matrix = _matrix(place)
    groups = len(place.ids) // matrix.shape[1]
    moved = np.ldexp(matrix, spread_inputs(place.node, shift, matrix.shape)[..., None])
    rows = seen.rows.astype(np.float32)
    expected = _products(rows, matrix, groups)
    scaled = np.ldexp(rows, -shift.reshape(groups, -1, 1))
    low = float(np.ldexp(seen.low, -shift).min())
    high = float(np.ldexp(seen.high, -shift).max())
    found = _products(_stored(scaled, low, high), _stored_weights(moved), groups)
    power = float((expected.astype(np.float64) ** 2).sum())
    return float(((found - expected).astype(np.float64) ** 2).sum()) / max(power, 1e-30)


def _products(rows: AnyArray, matrix: AnyArray, groups: int) -> AnyArray:
    """[groups, rows, outputs of a group]."""
    lines = rows.reshape(len(rows), groups, -1).transpose(1, 0, 2)
    weights = matrix.reshape(groups, matrix.shape[0] // groups, -1).transpose(0, 2, 1)
    result: AnyArray = lines @ weights
    return result


def _stored(rows: AnyArray, low: float, high: float) -> AnyArray:
    step = np.float32(max(high - low, 1e-30) / 255)
    zero = np.rint(-low / step)
    result: AnyArray = (np.clip(np.rint(rows / step) + zero, 0, 255) - zero) * step
    return result


def _stored_weights(matrix: AnyArray) -> AnyArray:
    step = np.maximum(np.abs(matrix).max(axis=(1, 2), keepdims=True) / 127, 1e-30)
    result: AnyArray = np.rint(matrix / step) * step
    return result
