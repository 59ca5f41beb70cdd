"""Dense operations for tests and benchmarks: build one, run it, compare with numpy."""

import dataclasses

import ml_dtypes
import numpy as np

from edgecomp.plan.finish import Activation, IntegerAdd, Requantize, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.values import Halo, Order, Value
from helpers.kernels import fill, read, run_calls

NO_HALO = Halo()
RELU = Activation("relu")
RELU6 = Activation("clip", 0.0, 6.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conv:
    """One convolution; ``finish`` is float, requantize, add (residual) or scale."""

    c: int
    m: int
    h: int = 7
    w: int = 7
    n: int = 1
    k: tuple = (1, 1)
    s: tuple = (1, 1)
    d: tuple = (1, 1)
    p: tuple = (0, 0, 0, 0)
    g: int = 1
    act: Activation | None = None
    residual: bool = False
    finish: str = "float"
    extreme: bool = False
    x_halo: Halo = NO_HALO
    y_halo: Halo = NO_HALO

    def __str__(self):
        parts = [f"{self.n}x{self.c}x{self.h}x{self.w}", f"m{self.m}"]
        parts += [f"k{self.k[0]}x{self.k[1]}"] if self.k != (1, 1) else []
        parts += [f"s{self.s[0]}x{self.s[1]}"] if self.s != (1, 1) else []
        parts += [f"d{self.d[0]}x{self.d[1]}"] if self.d != (1, 1) else []
        parts += ["p" + "".join(map(str, self.p))] if any(self.p) else []
        parts += [f"g{self.g}"] if self.g != 1 else []
        parts += [self.act.name] if self.act else []
        parts += ["residual"] if self.residual else []
        parts += [self.finish] if self.finish != "float" else []
        parts += ["extreme"] if self.extreme else []
        return "-".join(parts)

    @property
    def out_shape(self):
        sizes = [
            (size + before + after - (k - 1) * d - 1) // s + 1
            for size, before, after, k, d, s in zip(
                (self.h, self.w), self.p[:2], self.p[2:], self.k, self.d, self.s, strict=True
            )
        ]
        return (self.n, self.m, *sizes)


def convolve(x, weight, case, fill_value=0):
    """Convolution in float64 or int64: x [N, C, H, W], weight [M, C/g, KH, KW]."""
    dtype = np.float64 if x.dtype.kind == "f" else np.int64
    top, left, bottom, right = case.p
    x = np.pad(
        x.astype(dtype),
        ((0, 0), (0, 0), (top, bottom), (left, right)),
        constant_values=fill_value,
    )
    n, m, oh, ow = case.out_shape
    out = np.zeros((n, case.g, m // case.g, oh, ow), dtype)
    weight = weight.astype(dtype).reshape(case.g, m // case.g, -1, *case.k)
    for i in range(case.k[0]):
        for j in range(case.k[1]):
            y0, x0 = i * case.d[0], j * case.d[1]
            part = x[
                :,
                :,
                y0 : y0 + (oh - 1) * case.s[0] + 1 : case.s[0],
                x0 : x0 + (ow - 1) * case.s[1] + 1 : case.s[1],
            ].reshape(n, case.g, -1, oh, ow)
            out += np.einsum("ngchw,gmc->ngmhw", part, weight[..., i, j], optimize=True)
    return out.reshape(n, m, oh, ow)


def activate(activation, x):
    """Reference of the activations that dense kernels fuse, in float64."""
    if activation is None:
        return x
    a, b = activation.alpha, activation.beta
    functions = {
        "relu": lambda: np.maximum(x, 0),
        "clip": lambda: np.clip(x, a, b),
        "leakyrelu": lambda: np.where(x > 0, x, a * x),
        "hardsigmoid": lambda: np.clip(a * x + b, 0, 1),
        "hardswish": lambda: x * np.clip(x / 6 + 0.5, 0, 1),
    }
    return functions[activation.name]()


def requantize(acc, finish):
    """ "Requantize" of docs/numerics.md; acc int64 [N, M, ...], channels second."""
    assert np.abs(acc).max(initial=0) < 2**31
    multiplier = np.asarray(finish.multiplier, np.float32)
    multiplier = multiplier.reshape(1, -1, *[1] * (acc.ndim - 2))
    t = acc.astype(np.int32).astype(np.float32) * multiplier
    z = finish.zero_point
    t = np.clip(t, np.float32(finish.low - z), np.float32(finish.high - z))
    return np.rint(t).astype(np.int64) + z


def powers_of_two(rng, shape):
    """0 and powers of two that have codes of four bits, as a model keeps them."""
    levels = np.concatenate([[0.0], 2.0 ** np.arange(-6, 1), -(2.0 ** np.arange(-6, 1))])
    return rng.choice(levels, shape).astype(ml_dtypes.float8_e5m2)


def store_as(dtype, operation, buffers):
    """Let the activations of an operation have another type in memory."""
    for value in (*operation.inputs, operation.output):
        if value.constant is None:
            value.storage = dtype
            if value in buffers:
                stored = np.dtype(getattr(ml_dtypes, dtype, dtype))
                buffers[value] = buffers[value].astype(stored)


def make_float(case, rng, weight_dtype="float32"):
    """(operation, buffers, expected float64 output): of weights as they are stored."""
    x = rng.standard_normal((case.n, case.c, case.h, case.w)).astype(np.float32)
    weight = rng.standard_normal((case.m, case.c // case.g, *case.k)).astype(np.float32)
    if weight_dtype == "log2":
        weight = powers_of_two(rng, weight.shape)
    else:
        weight = weight.astype(np.dtype(getattr(ml_dtypes, weight_dtype, weight_dtype)))
    bias = rng.standard_normal(case.m).astype(np.float32)
    scale, real = None, weight.astype(np.float64)
    if weight.itemsize == 1:
        scale = rng.uniform(0.01, 2.0, case.m).astype(np.float32)
        real = real * scale[:, None, None, None]
    expected = convolve(x, real, case) + bias.astype(np.float64)[None, :, None, None]
    inputs, buffers = _conv_inputs(case, "float32", x, weight, bias)
    if case.residual:
        residual = rng.standard_normal(case.out_shape).astype(np.float32)
        expected = expected + residual
        _add_residual(case, "float32", residual, inputs, buffers)
    kind = Convolution(
        strides=case.s,
        dilations=case.d,
        pads=case.p,
        groups=case.g,
        activation=case.act,
        residual=case.residual,
        weight_scale=scale,
    )
    output = Value("y", case.out_shape, "float32", Order.NHWC, case.y_halo)
    return Operation(kind, inputs, [output]), buffers, activate(case.act, expected)


def make_integer(case, target, rng, weight_bits=8, x_dtype=None):
    """(operation, buffers, expected output): int64 stored values, or float64 for scale."""
    dtype = x_dtype or target.activation_dtype
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    shape = (case.n, case.c, case.h, case.w)
    weight_shape = (case.m, case.c // case.g, *case.k)
    least, most = (-127, 127) if weight_bits == 8 else (-8, 7)
    if case.extreme:
        x = rng.choice([low, high], shape, p=[0.2, 0.8]).astype(dtype)
        weight = rng.choice([least, most], weight_shape, p=[0.2, 0.8]).astype(np.int8)
        weight[0], weight[-1] = most, least
        x[..., 0] = high
    else:
        x = rng.integers(low, high + 1, shape).astype(dtype)
        weight = rng.integers(least, most + 1, weight_shape).astype(np.int8)
    symmetric = dtype == "int16"
    zero_x = 0 if symmetric else int(rng.integers(low, high + 1))
    bias = rng.integers(-5000, 5000, case.m).astype(np.int32)
    sums = weight.astype(np.int64).sum(axis=(1, 2, 3))
    acc = convolve(x.astype(np.int64) - zero_x, weight, case) + bias[None, :, None, None]
    stored_bias = (bias - zero_x * sums).astype(np.int32)
    inputs, buffers = _conv_inputs(case, dtype, x, weight, stored_bias, zero_x)
    spread = max(1.0, float(np.abs(acc).std()))
    reach = 12000 if symmetric else 60
    multiplier = (rng.uniform(0.2, 2.0, case.m) * reach / spread).astype(np.float32)
    finish, add, out_dtype = None, None, dtype
    if case.finish == "scale":
        finish, out_dtype = Scale(multiplier), "float32"
        expected = acc.astype(np.float32) * multiplier[None, :, None, None]
        if case.residual:
            residual = (20 * rng.standard_normal(case.out_shape)).astype(np.float32)
            _add_residual(case, "float32", residual, inputs, buffers)
            expected = expected + residual.astype(np.float64)
        expected = activate(case.act, expected.astype(np.float64))
    else:
        zero_y = 0 if symmetric else int(rng.integers(low, high + 1))
        finish = Requantize(multiplier, zero_y, max(low, zero_y), high)
        if case.act is None:
            finish = dataclasses.replace(finish, low=low)
        expected = requantize(acc, finish)
        if case.finish == "add":
            residual = rng.integers(low, high + 1, case.out_shape).astype(dtype)
            _add_residual(case, dtype, residual, inputs, buffers)
            zero_b = int(rng.integers(low, high + 1))
            add = IntegerAdd(
                23171,
                -17001,
                zero_y,
                zero_b,
                Requantize(np.float32([2.0**-15]), zero_b, low, high),
            )
            total = (expected - zero_y) * add.weight_a
            total = total + (residual.astype(np.int64) - zero_b) * add.weight_b
            expected = requantize(total, add.requantize)
    kind = Convolution(
        strides=case.s,
        dilations=case.d,
        pads=case.p,
        groups=case.g,
        activation=case.act if case.finish == "scale" else None,
        residual=case.residual or case.finish == "add",
        finish=finish,
        integer_add=add,
        weight_bits=weight_bits,
    )
    output = Value("y", case.out_shape, out_dtype, Order.NHWC, case.y_halo)
    return Operation(kind, inputs, [output]), buffers, expected


def as_matrix_multiply(operation):
    """The same operation as a matrix product, for a 1x1 convolution of a 1-row image."""
    kind = operation.kind
    values = {}

    def row_major(value):
        n, c, h, w = value.shape
        values[value] = Value(value.name, (n, h, w, c), value.dtype)
        return values[value]

    x, weight, bias, *residual = operation.inputs
    matrix = np.ascontiguousarray(weight.constant[:, :, 0, 0].T)
    constant = Value("w", matrix.shape, weight.dtype, constant=matrix)
    product = MatrixMultiply(
        activation=kind.activation,
        residual=kind.residual,
        finish=kind.finish,
        integer_add=kind.integer_add,
        weight_scale=kind.weight_scale,
        weight_bits=kind.weight_bits,
    )
    inputs = [row_major(x), constant, bias, *map(row_major, residual)]
    return Operation(product, inputs, [row_major(operation.output)]), values


def run(schedule, operation, buffers, target, slices=1):
    """Logical output of the operation, and its whole buffer."""
    assert schedule.match(operation, target) == ""
    calls = schedule.emit(operation, target)
    found = run_calls(calls, target, buffers, slices)
    return read(operation.output, found[operation.output]), found[operation.output]


def halo_untouched(value, flat):
    """Whether everything outside the logical elements still holds the harness's pattern."""
    inside = np.zeros(flat.shape, bool)
    view = value.view
    np.lib.stride_tricks.as_strided(
        inside[view.offset :], view.shape, [s * inside.itemsize for s in view.strides]
    )[...] = True
    return bool((flat.view(np.uint8).reshape(flat.size, -1)[~inside] == 0xA5).all())


def _conv_inputs(case, dtype, x, weight, bias, halo_fill=0):
    output = case.out_shape
    reach = [
        (o - 1) * s + (k - 1) * d + 1 - size - before
        for o, s, k, d, size, before in zip(
            output[2:], case.s, case.k, case.d, (case.h, case.w), case.p[:2], strict=True
        )
    ]
    halo = Halo(case.p[0], case.p[1], max(0, reach[0]), max(0, reach[1])).union(case.x_halo)
    value = Value("x", x.shape, dtype, Order.NHWC, halo)
    weight_value = Value("w", weight.shape, weight.dtype.name, constant=weight)
    bias_value = Value("b", bias.shape, bias.dtype.name, constant=bias)
    buffers = {value: fill(value, x, halo_fill)}
    return [value, weight_value, bias_value], buffers


def _add_residual(case, dtype, residual, inputs, buffers):
    value = Value("r", residual.shape, dtype, Order.NHWC, Halo(1, 0, 0, 1))
    buffers[value] = fill(value, residual, 3)
    inputs.append(value)
