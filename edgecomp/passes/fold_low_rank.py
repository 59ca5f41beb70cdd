"""Fold low-rank factors: two thin products into one, LoRA pairs into their base weight.

    (x A + a) B + b           =>   x (A B) + (a B + b)         where one layer is cheaper
    x W + s (x A) B           =>   x (W + s A B)               always

For Gemm, MatMul with a constant matrix, and convolutions of which one is 1x1: ``k x k`` then
``1 x 1`` gives the kernel ``sum_r B[n, r] A[r, c, :, :]``, ``1 x 1`` then ``k x k`` gives
``sum_r B[n, r, :, :] A[r, c]``, whose border sees ``a`` as well, so that padding needs a = 0.

A pair stays two layers where that is cheaper, by the cost given. Refused: an intermediate that
is read elsewhere, groups, weights that are not constant.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecomp.graph.constants import AnyArray, constant_array
from edgecomp.graph.edit import only_reader, remove_unused, replace_value, set_constant_input
from edgecomp.graph.match import is_operator, producer, scaled
from edgecomp.graph.shapes import static_shape
from edgecomp.graph.source import copy_source
from edgecomp.passes.add_bias import add_bias
from edgecomp.passes.canonicalize_products import is_canonical_gemm
from edgecomp.passes.outcome import Numerics, Outcome, Refusal, finish, refuse

# One layer also saves the pass over the intermediate and a kernel call.
_DEFAULT_ADVANTAGE = 1.1


@dataclasses.dataclass(frozen=True)
class FactoredLayer:
    """Two products with nothing between, for the cost question.

    Attributes:
        operator: Gemm, MatMul or Conv.
        rows: output positions (batch times image, or rows of the matrix).
        inputs: channels in, times the window of the first convolution.
        rank: channels between.
        outputs: channels out.
        window: elements of the second convolution's window, 1 otherwise.
        first_rows: output positions of the first product.
    """

    operator: str
    rows: int
    inputs: int
    rank: int
    outputs: int
    window: int = 1
    first_rows: int = 0

    @property
    def factored_multiply_adds(self) -> int:
        """Multiply-adds as two layers."""
        first = (self.first_rows or self.rows) * self.inputs * self.rank
        return first + self.rows * self.rank * self.outputs * self.window

    @property
    def dense_multiply_adds(self) -> int:
        """Multiply-adds as one layer."""
        return self.rows * self.inputs * self.outputs * self.window


#: Costs (as two layers, as one layer) in one unit; the cheaper form is taken.
LowRankCost = Callable[[FactoredLayer], tuple[float, float]]


def multiply_add_cost(layer: FactoredLayer) -> tuple[float, float]:
    """Multiply-adds; one layer may cost a tenth more than two."""
    return layer.factored_multiply_adds * _DEFAULT_ADVANTAGE, float(layer.dense_multiply_adds)


class FoldLowRankPass(ir.passes.InPlacePass):
    """Merge low-rank pairs where that is cheaper, and LoRA pairs always.

    Scope: main graph.  Numerics: float-reassociated.

    Args:
        cost: compares both forms of a pair on the target.
    """

    numerics = Numerics.REASSOCIATED

    def __init__(self, cost: LowRankCost = multiply_add_cost) -> None:
        self.cost = cost

    def call(self, model: ir.Model) -> Outcome:
        """LoRA sums first: their pairs must not be merged into a layer of their own."""
        notes: list[str] = []
        refusals: list[Refusal] = []
        applied = 0
        for node in list(model.graph):
            if node.graph is not None and is_operator(node, "Add"):
                applied += _fold_lora(node, notes)
        # Chains fold from the front: each product meets the merged one before it.
        for node in list(model.graph):
            if node.graph is None or not is_operator(node, "Gemm", "MatMul", "Conv"):
                continue
            pair = _match_pair(node)
            if pair is None:
                continue
            reason = _refusal(pair, self.cost)
            if reason:
                refusals.append(refuse(node, reason))
                continue
            notes.append(f"{pair.first.name} and {node.name} became one layer")
            _merge(pair)
            applied += 1
        if applied:
            remove_unused(model)
        return finish(type(self).__name__, model, applied, refusals, notes)


@dataclasses.dataclass(frozen=True)
class _Pair:
    first: ir.Node
    second: ir.Node
    bias: AnyArray | None  # of the first product, [rank]


@dataclasses.dataclass(frozen=True)
class _Branch:
    pair: _Pair
    factor: float  # of the matrix and the first bias
    outer_factor: float  # of the second bias: a number between the factors does not reach it


def _match_pair(second: ir.Node) -> _Pair | None:
    """The product before ``second`` with nothing but a bias between."""
    value = second.inputs[0]
    if value is None or not _is_plain_product(second):
        return None
    first = value.producer()
    bias = None
    if is_operator(second, "MatMul") and is_operator(first, "Add"):
        assert first is not None
        bias = constant_array(first.inputs[1])
        between = producer(first.inputs[0], "MatMul")
        if bias is None or bias.ndim != 1 or between is None:
            return None
        first = between
    if first is None or first.op_type != second.op_type or not _is_plain_product(first):
        return None
    if bias is None and len(first.inputs) > 2:
        bias = constant_array(first.inputs[2])
    return _Pair(first, second, bias)


def _is_plain_product(node: ir.Node) -> bool:
    if is_operator(node, "Gemm"):
        return is_canonical_gemm(node)
    weight = constant_array(node.inputs[1])
    if weight is None:
        return False
    if is_operator(node, "MatMul"):
        return weight.ndim == 2
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return bias is None or constant_array(bias) is not None


def _refusal(pair: _Pair, cost: LowRankCost) -> str:
    first, second = pair.first, pair.second
    links = [first.outputs[0]]
    if second.inputs[0] is not first.outputs[0]:
        assert second.inputs[0] is not None
        links.append(second.inputs[0])
    if any(only_reader(value) is None for value in links):
        return "the intermediate is read elsewhere too"
    if is_operator(first, "Conv"):
        reason = _convolution_refusal(pair)
        if reason:
            return reason
    layer = describe_pair(first, second)
    two, one = cost(layer)
    if one > two:
        return f"two layers are cheaper: {two:.4g} against {one:.4g} as one"
    return ""


def _convolution_refusal(pair: _Pair) -> str:
    first, second = pair.first, pair.second
    for node in (first, second):
        if node.attributes.get_int("group", 1) != 1:
            return "a convolution has groups"
        if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
            return "a convolution has auto_pad"
    if _is_pointwise(second):
        return ""
    if not _is_pointwise(first):
        return "neither convolution is 1x1"
    if any(stride != 1 for stride in first.attributes.get_ints("strides", [])):
        return "the 1x1 convolution in front has a stride"
    padded = any(second.attributes.get_ints("pads", []))
    if padded and pair.bias is not None and pair.bias.any():
        return "the bias of the 1x1 convolution in front does not reach the padding"
    return ""


def _is_pointwise(node: ir.Node) -> bool:
    weight = constant_array(node.inputs[1])
    assert weight is not None
    return math.prod(weight.shape[2:]) == 1 and not any(node.attributes.get_ints("pads", []))


def describe_pair(first: ir.Node, second: ir.Node) -> FactoredLayer:
    """The pair's sizes."""
    one, other = constant_array(first.inputs[1]), constant_array(second.inputs[1])
    assert one is not None
    assert other is not None
    shapes = static_shape(first.outputs[0]), static_shape(second.outputs[0])
    assert shapes[0] is not None
    assert shapes[1] is not None
    if is_operator(first, "Conv"):
        rank, outputs = one.shape[0], other.shape[0]
        inputs, window = math.prod(one.shape[1:]), math.prod(other.shape[2:])
    else:
        inputs, rank = one.shape
        outputs, window = other.shape[1], 1
    return FactoredLayer(
        operator=first.op_type,
        rows=math.prod(shapes[1]) // outputs,
        inputs=inputs,
        rank=rank,
        outputs=outputs,
        window=window,
        first_rows=math.prod(shapes[0]) // rank,
    )


def _merge(pair: _Pair) -> None:
    first, second = pair.first, pair.second
    weight, passed = _dense(pair)
    dtype = constant_array(second.inputs[1]).dtype  # type: ignore[union-attr]
    if is_operator(second, "Conv"):
        _merge_attributes(first, second)
    second.replace_input_with(0, first.inputs[0])
    set_constant_input(second, 1, weight.astype(dtype))
    copy_source(first, second)
    if passed is not None:
        add_bias(second, passed)


def _dense(pair: _Pair) -> tuple[AnyArray, AnyArray | None]:
    """The merged weight, and what the first bias adds to the result; float64."""
    one = np.asarray(constant_array(pair.first.inputs[1]), np.float64)
    other = np.asarray(constant_array(pair.second.inputs[1]), np.float64)
    bias = None if pair.bias is None else pair.bias.astype(np.float64)
    if not is_operator(pair.first, "Conv"):
        return one @ other, None if bias is None else bias @ other
    passed = None
    if bias is not None:
        passed = other.reshape(*other.shape[:2], -1).sum(axis=2) @ bias
    if _is_pointwise(pair.second):
        return np.einsum("nr,rc...->nc...", other.reshape(other.shape[:2]), one), passed
    return np.einsum("nr...,rc->nc...", other, one.reshape(one.shape[:2])), passed


def _merge_attributes(first: ir.Node, second: ir.Node) -> None:
    """Window, pads and dilation of the one that is not 1x1; strides multiply."""
    spatial = len(constant_array(first.inputs[1]).shape) - 2  # type: ignore[union-attr]
    ones = [1] * spatial
    strides = [
        one * other
        for one, other in zip(
            first.attributes.get_ints("strides", ones),
            second.attributes.get_ints("strides", ones),
            strict=True,
        )
    ]
    if _is_pointwise(second):
        for name in ("kernel_shape", "pads", "dilations"):
            second.attributes.pop(name, None)
            if name in first.attributes:
                second.attributes[name] = first.attributes[name]
    second.attributes["strides"] = ir.AttrInt64s("strides", strides)


def _fold_lora(total: ir.Node, notes: list[str]) -> int:
    """Rewrite x W + s (x A) B as x (W + s A B); returns 1 where it was done."""
    if static_shape(total.inputs[0]) != static_shape(total.inputs[1]):
        return 0
    for at in (0, 1):
        branch = _low_rank_branch(total.inputs[1 - at])
        base = _base_product(total.inputs[at], total)
        if branch is None or base is None:
            continue
        pair, factor = branch.pair, branch.factor
        if not _same_input_and_form(base, pair):
            continue
        weight, passed = _dense(pair)
        old = constant_array(base.inputs[1])
        assert old is not None
        set_constant_input(
            base, 1, (old.astype(np.float64) + factor * weight).astype(old.dtype)
        )
        copy_source(total, base)
        notes.append(f"{pair.first.name} and {pair.second.name} were added into {base.name}")
        kept = total.inputs[at]
        assert kept is not None
        graph = total.graph
        assert isinstance(graph, ir.Graph)
        replace_value(total.outputs[0], kept)
        graph.remove(total, safe=True)
        add_bias(base, _branch_bias(branch, passed))
        return 1
    return 0


def _branch_bias(branch: _Branch, passed: AnyArray | None) -> AnyArray:
    """What the branch adds besides its matrix: its own bias and the first one's."""
    second = branch.pair.second
    shape = static_shape(second.outputs[0])
    assert shape is not None
    channels = shape[1] if is_operator(second, "Conv") else shape[-1]
    result = np.zeros(channels) if passed is None else branch.factor * passed
    own = constant_array(second.inputs[2]) if len(second.inputs) > 2 else None
    return result if own is None else result + branch.outer_factor * own.astype(np.float64)


def _low_rank_branch(value: ir.Value | None) -> _Branch | None:
    """A pair times a number; the number may stand behind, or between the factors."""
    factor = 1.0
    step = scaled(value.producer()) if value is not None else None
    if step is not None:
        value, factor = step[0], step[1]
    second = producer(value, "Gemm", "MatMul", "Conv")
    if second is None or not _is_plain_product(second):
        return None
    pair = _match_pair(second)
    if pair is not None:
        return _Branch(pair, factor, factor)
    inner = scaled(second.inputs[0].producer()) if second.inputs[0] is not None else None
    first = producer(inner[0], second.op_type) if inner is not None else None
    if inner is None or first is None or not _is_plain_product(first):
        return None
    bias = constant_array(first.inputs[2]) if len(first.inputs) > 2 else None
    return _Branch(_Pair(first, second, bias), factor * inner[1], factor)


def _base_product(value: ir.Value | None, total: ir.Node) -> ir.Node | None:
    """The product whose result goes only into ``total``, through its bias Add at most."""
    if value is None or only_reader(value) is not total:
        return None
    node = value.producer()
    if is_operator(node, "Add"):
        assert node is not None
        row = constant_array(node.inputs[1])
        node = (
            producer(node.inputs[0], "MatMul") if row is not None and row.ndim == 1 else None
        )
        if node is None or only_reader(node.outputs[0]) is None:
            return None
    if node is None or not is_operator(node, "Gemm", "MatMul", "Conv"):
        return None
    return node if _is_plain_product(node) else None


def _same_input_and_form(base: ir.Node, pair: _Pair) -> bool:
    """Whether base and branch see the same windows of the same value."""
    first, second = pair.first, pair.second
    if base.op_type != first.op_type or base.inputs[0] is not first.inputs[0]:
        return False
    if not is_operator(base, "Conv"):
        return True
    if _convolution_refusal(pair) or not _is_pointwise(second):
        return False
    if base.attributes.get_int("group", 1) != 1:
        return False
    if any(stride != 1 for stride in second.attributes.get_ints("strides", [])):
        return False
    weights = constant_array(base.inputs[1]), constant_array(first.inputs[1])
    assert weights[0] is not None
    assert weights[1] is not None
    spatial = weights[0].ndim - 2
    defaults = {
        "strides": [1] * spatial,
        "dilations": [1] * spatial,
        "pads": [0] * 2 * spatial,
    }
    return weights[0].shape[2:] == weights[1].shape[2:] and all(
        list(base.attributes.get_ints(name, default))
        == list(first.attributes.get_ints(name, default))
        for name, default in defaults.items()
    )
