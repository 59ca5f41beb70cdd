"""ONNX operators in torch: what convolutional networks and transformers are made of.

Each function takes the node's inputs (None where one is left out) and its attributes, and gives
one tensor or several. The inputs that ``STATIC`` names are numpy arrays: a trace cannot read what
shapes its result from a tensor.
"""

from collections.abc import Callable, Sequence
from typing import Any

Tensor = Any
Arguments = Sequence[Any]
Attributes = dict[str, Any]
Function = Callable[[Arguments, Attributes], Any]


def _torch() -> Any:
    import torch

    return torch


def _functional() -> Any:
    from torch.nn import functional

    return functional


def _ints(array: Any) -> list[int]:
    """A static input's elements."""
    return [int(number) for number in array.reshape(-1)]


def _padded(x: Tensor, attributes: Attributes, rank: int, value: float = 0.0) -> Tensor:
    """Pad the last ``rank`` axes by ``pads`` (all begins, then all ends)."""
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise NotImplementedError("auto_pad")
    pads = attributes.get("pads") or [0] * (2 * rank)
    if not any(pads):
        return x
    pairs = [pads[i + end * rank] for i in reversed(range(rank)) for end in (0, 1)]
    return _functional().pad(x, pairs, value=value)


def _symmetric(attributes: Attributes, rank: int) -> list[int] | None:
    """The padding that torch's own argument can say, None where it cannot."""
    pads = attributes.get("pads") or [0] * (2 * rank)
    return pads[:rank] if pads[:rank] == pads[rank:] else None


def _conv(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, weight, bias = [*inputs, None][:3]
    rank = weight.dim() - 2
    padding = _symmetric(attributes, rank)
    if padding is None:
        x, padding = _padded(x, attributes, rank), [0] * rank
    function = getattr(_functional(), f"conv{rank}d")
    return function(
        x,
        weight,
        bias,
        stride=attributes.get("strides", [1] * rank),
        padding=padding,
        dilation=attributes.get("dilations", [1] * rank),
        groups=attributes.get("group", 1),
    )


def _gemm(inputs: Arguments, attributes: Attributes) -> Tensor:
    a, b, c = [*inputs, None][:3]
    alpha, beta = attributes.get("alpha", 1.0), attributes.get("beta", 1.0)
    a = a.t() if attributes.get("transA") else a
    if attributes.get("transB") and alpha == 1 and beta == 1 and (c is None or c.dim() == 1):
        return _functional().linear(a, b, c)
    result = alpha * (a @ (b.t() if attributes.get("transB") else b))
    return result if c is None else result + beta * c


def _pool(name: str, fill: float) -> Function:
    def pool(inputs: Arguments, attributes: Attributes) -> Tensor:
        kernel = attributes["kernel_shape"]
        rank = len(kernel)
        strides = attributes.get("strides", [1] * rank)
        padding = _symmetric(attributes, rank)
        rest: Attributes = {"ceil_mode": bool(attributes.get("ceil_mode", 0))}
        if name == "avg":
            rest["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
            if padding is None and not rest["count_include_pad"]:
                raise NotImplementedError("AveragePool with one-sided padding")
        x = inputs[0]
        if padding is None:
            x, padding = _padded(x, attributes, rank, fill), [0] * rank
        function = getattr(_functional(), f"{name}_pool{rank}d")
        return function(x, kernel, strides, padding, **rest)

    return pool


def _axes(inputs: Arguments, attributes: Attributes) -> list[int] | None:
    """Axes as an attribute or, from opset 13 to 18 on, as the second input."""
    if len(inputs) > 1 and inputs[1] is not None:
        return _ints(inputs[1])
    found: list[int] | None = attributes.get("axes")
    return found


def _reduce(name: str) -> Function:
    def reduce(inputs: Arguments, attributes: Attributes) -> Tensor:
        x = inputs[0]
        axes = _axes(inputs, attributes)
        if not axes and attributes.get("noop_with_empty_axes"):
            return x
        axes = axes or list(range(x.dim()))
        return getattr(_torch(), name)(x, axes, keepdim=bool(attributes.get("keepdims", 1)))

    return reduce


def _global_average(inputs: Arguments, _: Attributes) -> Tensor:
    x = inputs[0]
    return x.mean(list(range(2, x.dim())), keepdim=True)


def _batch_norm(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, scale, bias, mean, variance = inputs[:5]
    epsilon = attributes.get("epsilon", 1e-5)
    return _functional().batch_norm(x, mean, variance, scale, bias, eps=epsilon)


def _layer_norm(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, scale, bias = [*inputs, None][:3]
    axis = attributes.get("axis", -1) % x.dim()
    epsilon = attributes.get("epsilon", 1e-5)
    return _functional().layer_norm(x, list(x.shape[axis:]), scale, bias, epsilon)


def _clip(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, low, high = [*inputs, None, None][:3]
    low = attributes.get("min") if low is None else float(low)
    high = attributes.get("max") if high is None else float(high)
    if (low, high) == (0, 6):
        return _functional().relu6(x)
    return _torch().clamp(x, low, high)


def _reshape(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, wanted = inputs[0], _ints(inputs[1])
    if not attributes.get("allowzero"):
        wanted = [x.shape[i] if size == 0 else size for i, size in enumerate(wanted)]
    return x.reshape(wanted)


def _flatten(inputs: Arguments, attributes: Attributes) -> Tensor:
    axis = attributes.get("axis", 1)
    return inputs[0].flatten(axis) if axis == 1 else inputs[0].flatten(0, axis - 1).flatten(1)


def _transpose(inputs: Arguments, attributes: Attributes) -> Tensor:
    x = inputs[0]
    return x.permute(attributes.get("perm") or list(reversed(range(x.dim()))))


def _squeeze(inputs: Arguments, attributes: Attributes) -> Tensor:
    axes = _axes(inputs, attributes)
    return inputs[0].squeeze() if axes is None else inputs[0].squeeze(tuple(axes))


def _unsqueeze(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, axes = inputs[0], _axes(inputs, attributes) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _gather(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, index = inputs[:2]
    axis = attributes.get("axis", 0) % x.dim()
    if axis == 0 and x.dim() == 2:
        return _functional().embedding(index, x)
    flat = x.index_select(axis, index.reshape(-1))
    return flat.reshape([*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]])


def _split(inputs: Arguments, attributes: Attributes) -> Any:
    x, axis = inputs[0], attributes.get("axis", 0)
    sizes = _ints(inputs[1]) if len(inputs) > 1 else attributes.get("split")
    if sizes is None:
        size = -(-x.shape[axis] // attributes["num_outputs"])
        return x.split(size, axis)
    return x.split(sizes, axis)


def _slice(inputs: Arguments, _: Attributes) -> Tensor:
    x, starts, ends = inputs[0], _ints(inputs[1]), _ints(inputs[2])
    axes = _ints(inputs[3]) if len(inputs) > 3 and inputs[3] is not None else None
    steps = _ints(inputs[4]) if len(inputs) > 4 and inputs[4] is not None else None
    ranges = [slice(None)] * x.dim()
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        axis = axes[i] if axes else i
        step = steps[i] if steps else 1
        if step < 0:
            raise NotImplementedError("Slice with a negative step")
        ranges[axis] = slice(start, min(end, x.shape[axis]), step)
    return x[tuple(ranges)]


def _pad(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, pads = inputs[0], _ints(inputs[1])
    if attributes.get("mode", "constant") != "constant" or len(inputs) > 3:
        raise NotImplementedError("Pad other than by a constant on all axes")
    value = float(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return _padded(x, {"pads": pads}, x.dim(), value)


def _resize(inputs: Arguments, attributes: Attributes) -> Tensor:
    x, _, scales, sizes = [*inputs, None, None, None][:4]
    place = attributes.get("coordinate_transformation_mode", "half_pixel")
    kind = (attributes.get("mode", "nearest"), place)
    nearest = attributes.get("nearest_mode", "round_prefer_floor")
    if kind == ("nearest", "asymmetric") and nearest == "floor":
        rest: Attributes = {"mode": "nearest"}
    elif kind in (("linear", "half_pixel"), ("linear", "pytorch_half_pixel")) and x.dim() == 4:
        rest = {"mode": "bilinear", "align_corners": False}
    else:
        raise NotImplementedError(f"Resize by {kind}, {nearest}")
    if sizes is not None and len(sizes):
        wanted = _ints(sizes)
    else:
        wanted = [int(size * scale) for size, scale in zip(x.shape, scales, strict=True)]
    if list(x.shape[:2]) != wanted[:2]:
        raise NotImplementedError("Resize of batch or channels")
    return _functional().interpolate(x, size=wanted[2:], **rest)


def _gelu(inputs: Arguments, attributes: Attributes) -> Tensor:
    kind = attributes.get("approximate", "none")
    return _functional().gelu(inputs[0], approximate=kind)


def _hard_sigmoid(inputs: Arguments, attributes: Attributes) -> Tensor:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return _torch().clamp(inputs[0] * alpha + beta, 0.0, 1.0)


def _unary(name: str) -> Function:
    return lambda inputs, _: getattr(_torch(), name)(inputs[0])


def _binary(name: str) -> Function:
    return lambda inputs, _: getattr(_torch(), name)(inputs[0], inputs[1])


def _softmax(inputs: Arguments, attributes: Attributes) -> Tensor:
    return _torch().softmax(inputs[0], attributes.get("axis", -1))


def _concat(inputs: Arguments, attributes: Attributes) -> Tensor:
    return _torch().cat(list(inputs), attributes["axis"])


def _leaky_relu(inputs: Arguments, attributes: Attributes) -> Tensor:
    return _functional().leaky_relu(inputs[0], attributes.get("alpha", 0.01))


#: Operator -> inputs that have to be constants.
STATIC = {
    "Clip": (1, 2),
    "Pad": (1, 2, 3),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Unsqueeze": (1,),
}

OPERATORS: dict[str, Function] = {
    "Abs": _unary("abs"),
    "Add": _binary("add"),
    "AveragePool": _pool("avg", 0.0),
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _binary("div"),
    "Erf": _unary("erf"),
    "Exp": _unary("exp"),
    "Flatten": _flatten,
    "Gather": _gather,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda inputs, _: _functional().hardswish(inputs[0]),
    "Identity": lambda inputs, _: inputs[0],
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _leaky_relu,
    "MatMul": _binary("matmul"),
    "MaxPool": _pool("max", float("-inf")),
    "Mul": _binary("mul"),
    "Neg": _unary("neg"),
    "Pad": _pad,
    "Pow": _binary("pow"),
    "ReduceMax": _reduce("amax"),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "Relu": _unary("relu"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Sigmoid": _unary("sigmoid"),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": _unary("sqrt"),
    "Squeeze": _squeeze,
    "Sub": _binary("sub"),
    "Tanh": _unary("tanh"),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
