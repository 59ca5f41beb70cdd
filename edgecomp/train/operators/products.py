"""Products of matrices, reductions and normalisations."""

import onnx_ir as ir
import torch

from edgecomp.train.operators.arguments import (
    Builder,
    Function,
    number,
    shape_of,
    whole_numbers,
)


def _gemm(node: ir.Node) -> Function:
    alpha, beta = number(node, "alpha", 1.0), number(node, "beta", 1.0)
    left, right = (node.attributes.get_int(name, 0) for name in ("transA", "transB"))

    def run(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
        y = (a.mT if left else a) @ (b.mT if right else b)
        y = y if alpha == 1.0 else y * alpha
        if c is None:
            return y
        return y + (c if beta == 1.0 else c * beta)

    return run


def _reduction(function: Function) -> Builder:
    def build(node: ir.Node) -> Function:
        rank = len(shape_of(node.inputs[0]))
        axes = whole_numbers(node, 1, "axes")
        keep = bool(node.attributes.get_int("keepdims", 1))
        if not axes:
            if node.attributes.get_int("noop_with_empty_axes", 0):
                return lambda x, *_: x
            axes = list(range(rank))
        chosen = tuple(axes)
        return lambda x, *_: function(x, chosen, keepdim=keep)

    return build


def _layer_norm(node: ir.Node) -> Function:
    rank = len(shape_of(node.inputs[0]))
    first = node.attributes.get_int("axis", -1) % rank
    axes, epsilon = tuple(range(first, rank)), number(node, "epsilon", 1e-5)

    def run(
        x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        y = _normalized(x, axes, epsilon) * scale
        return y if bias is None else y + bias

    return run


def _instance_norm(node: ir.Node) -> Function:
    rank, epsilon = len(shape_of(node.inputs[0])), number(node, "epsilon", 1e-5)
    axes, shape = tuple(range(2, rank)), (-1, *(1,) * (rank - 2))

    def run(x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return _normalized(x, axes, epsilon) * scale.reshape(shape) + bias.reshape(shape)

    return run


def _batch_norm(node: ir.Node) -> Function:
    """By the statistics that the model has: they are not trained."""
    rank, epsilon = len(shape_of(node.inputs[0])), number(node, "epsilon", 1e-5)
    shape = (-1, *(1,) * (rank - 2))

    def run(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        scale, bias, mean, variance = (each.reshape(shape) for each in parameters)
        return (x - mean) * (scale / torch.sqrt(variance + epsilon)) + bias

    return run


def _normalized(x: torch.Tensor, axes: tuple[int, ...], epsilon: float) -> torch.Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(axes, keepdim=True) + epsilon)


def _sum_of_squares(x: torch.Tensor, axes: tuple[int, ...], keepdim: bool) -> torch.Tensor:
    return x.square().sum(axes, keepdim=keepdim)


def _length(x: torch.Tensor, axes: tuple[int, ...], keepdim: bool) -> torch.Tensor:
    return torch.linalg.vector_norm(x, dim=axes, keepdim=keepdim)


BUILDERS: dict[str, Builder] = {
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    "MatMul": lambda _: torch.matmul,
    "ReduceL2": _reduction(_length),
    "ReduceLogSumExp": _reduction(torch.logsumexp),
    "ReduceMax": _reduction(torch.amax),
    "ReduceMean": _reduction(torch.mean),
    "ReduceMin": _reduction(torch.amin),
    "ReduceSum": _reduction(torch.sum),
    "ReduceSumSquare": _reduction(_sum_of_squares),
}
