"""Move scales between layers until both sides of every channel reach equally far.

    Conv(W1, b1) -> Relu -> Conv(W2)    =>    Conv(W1 / s, b1 / s) -> Relu -> Conv(s W2)
    s[c] = sqrt(max|W1[c]| / max|W2[:, c]|), rounded to a power of two

(Nagel, van Baalen, Blankevoort, Welling, "Data-free quantization through weight equalization and
bias correction", ICCV 2019, section 4.1.) Channels of one tensor share its scale when they are
stored in 8 bits, so that what is a hundredth of the largest keeps one or two levels of its own.
Every region of layers that share channels is equalized in turn, until none changes: through
ReLU, LeakyReLU, PReLU, pools, pads with zero, moves, residual sums (whose members take one
scale together); a depthwise convolution is the end of one region and the start of the next.

Scales are powers of two, where the paper takes any: the float model then computes the same bits,
and equal means within a factor of two. Not applied through an upper bound (Clip, ReLU6): it is
one number for all channels, and with a region's channels divided apart it would have to be many.
Replacing it by Relu, as the paper does, is another function where calibration did not reach.
The paper's absorption of high biases belongs to ranges assumed from normalisations; ranges are
measured here, and the bounds of stored values follow them.
"""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.match import is_operator
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse
from edgecomp.passes.scales.apply import (
    LARGEST_EXPONENT,
    apply_exponents,
    as_matrix,
    spread_inputs,
)
from edgecomp.passes.scales.region import Ids, Region, is_asked_for
from edgecomp.passes.scales.rules import start_region

_PRODUCTS = ("Conv", "Gemm", "MatMul")
#: Rounds over all regions; chains of depthwise convolutions settle in ten.
_MOST_ROUNDS = 100

Real = npt.NDArray[np.float64]


class EqualizeLayersPass(ir.passes.InPlacePass):
    """Cross-layer equalization of products whose weights are constant.

    Scope: main graph.  Numerics: exact.

    Args:
        only: names of the products between which scales may move, None for all.
    """

    numerics = Numerics.EXACT

    def __init__(self, only: Collection[str] | None = None) -> None:
        super().__init__()
        self._only = only

    def call(self, model: ir.Model) -> Outcome:
        """Find the regions, settle their scales, rewrite each weight once."""
        regions, refusals = _regions(model.graph, self._only)
        weights = {
            place.node: np.abs(_weight(place.node)).astype(np.float64).max(axis=2)
            for region in regions
            for place in (*region.sources, *region.readers)
        }
        exponents = _settle(regions, weights)
        moves = list(zip(regions, exponents, strict=True))
        apply_exponents(moves)
        notes = [
            f"{region.start.name}: {np.count_nonzero(each)} of {region.size} channels rescaled"
            for region, each in moves
            if each.any()
        ]
        return finish(type(self).__name__, model, len(notes), refusals, notes)


def _regions(
    graph: ir.Graph, only: Collection[str] | None
) -> tuple[list[Region], list[Refusal]]:
    regions: list[Region] = []
    refusals: list[Refusal] = []
    seen: set[ir.Value] = set()
    for node in graph:
        if not is_operator(node, *_PRODUCTS) or node.outputs[0] in seen:
            continue
        region = start_region(node)
        if region is None:
            continue
        seen.update(region.values)
        ends = (*region.sources, *region.readers)
        asked = [is_asked_for(place.node, only) for place in ends]
        if not (any(asked) or is_asked_for(node, only)):
            continue
        if not region.free().any():
            refusals.append(refuse(node, region.reason or "nothing takes its scale"))
        elif any(not is_operator(place.node, *_PRODUCTS) for place in region.sources):
            refusals.append(refuse(node, "a normalisation makes some of its channels"))
        elif not all(asked):
            refusals.append(refuse(node, "it shares channels with layers that are no targets"))
        else:
            regions.append(region)
    return regions, refusals


def _weight(node: ir.Node) -> AnyArray:
    weight = constant_array(node.inputs[1])
    assert weight is not None
    return as_matrix(node, weight)


def _settle(regions: list[Region], weights: dict[ir.Node, Real]) -> list[Ids]:
    """Exponents of all regions; ``weights`` [outputs, inputs of a group] follow them."""
    exponents = [np.zeros(region.size, np.int64) for region in regions]
    for _ in range(_MOST_ROUNDS):
        settled = True
        for region, total in zip(regions, exponents, strict=True):
            step = _step(region, weights)
            step = np.clip(total + step, -LARGEST_EXPONENT, LARGEST_EXPONENT) - total
            if not step.any():
                continue
            settled = False
            total += step
            _follow(region, step, weights)
        if settled:
            break
    return exponents


def _step(region: Region, weights: dict[ir.Node, Real]) -> Ids:
    made, read = np.zeros(region.size + 1), np.zeros(region.size + 1)
    for place in region.sources:
        np.maximum.at(made, place.ids, weights[place.node].max(axis=1, initial=0.0))
    for place in region.readers:
        np.maximum.at(read, place.ids, _largest_per_input(place.node, weights[place.node]))
    usable = region.free() & (made[:-1] > 0) & (read[:-1] > 0)
    ratio = np.divide(made[:-1], read[:-1], out=np.ones(region.size), where=usable)
    return np.rint(0.5 * np.log2(ratio)).astype(np.int64)


def _largest_per_input(node: ir.Node, weight: Real) -> Real:
    groups = node.attributes.get_int("group", 1) if node.op_type == "Conv" else 1
    per_group = weight.reshape(groups, -1, weight.shape[1])
    largest: Real = per_group.max(axis=1, initial=0.0).reshape(-1)
    return largest


def _follow(region: Region, step: Ids, weights: dict[ir.Node, Real]) -> None:
    by_id = np.append(step, 0)
    for place in region.sources:
        weights[place.node] = np.ldexp(weights[place.node], -by_id[place.ids][:, None])
    for place in region.readers:
        shift = spread_inputs(place.node, by_id[place.ids], weights[place.node].shape)
        weights[place.node] = np.ldexp(weights[place.node], shift)
