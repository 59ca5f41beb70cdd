"""Recurrent nets against float64, on every instruction set."""

import dataclasses

import numpy as np
import pytest
from helpers.kernels import fill, read, run_calls
from helpers.targets import A53, ARMV7, AVX2, AVX512

from edgecomp.plan.finish import Activation
from edgecomp.plan.movement import Fill
from edgecomp.plan.operations import Operation
from edgecomp.plan.recurrence import Recurrence
from edgecomp.plan.values import Value
from edgecomp.schedules.cpu import recurrence

SIGMOID, TANH = Activation("sigmoid"), Activation("tanh")
DEFAULTS = {"lstm": (SIGMOID, TANH, TANH), "gru": (SIGMOID, TANH), "rnn": (TANH,)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def step(kind, x, h, c, matrix, bias):
    """One step of one sequence in float64: x [gates, hidden], matrix [hidden, gates, hidden]."""
    sums = np.einsum("k,kgm->gm", h, matrix)
    if kind.cell == "rnn":
        return np.tanh(x[0] + sums[0]), c
    if kind.cell == "lstm":
        entry, leave, forget = sigmoid(x[:3] + sums[:3])
        c = forget * c + entry * np.tanh(x[3] + sums[3])
        return leave * np.tanh(c), c
    update, reset = sigmoid(x[:2] + sums[:2])
    if kind.linear_before_reset:
        candidate = np.tanh(x[2] + reset * (sums[2] + bias))
    else:
        candidate = np.tanh(x[2] + (reset * h) @ matrix[:, 2])
    return (1 - update) * candidate + update * h, c


def operation_of(cell, hidden, batch, steps, rng, *, reverse=(False,), fixed=True, **settings):
    directions = len(reverse)
    kind = Recurrence(
        cell=cell,
        hidden=hidden,
        reverse=reverse,
        activations=(DEFAULTS[cell],) * directions,
        **settings,
    )
    padded = kind.padded_hidden
    matrix = np.zeros((directions, hidden, kind.gates, padded), np.float32)
    matrix[..., :hidden] = rng.standard_normal(
        (directions, hidden, kind.gates, hidden)
    ) / np.sqrt(hidden)
    x = Value("x", (steps, batch, directions * kind.gates * padded), "float32")
    weights = Value("r", matrix.shape, "float32", constant=matrix if fixed else None)
    inputs, arrays = [x, weights], {} if fixed else {weights: fill(weights, matrix)}
    if kind.linear_before_reset:
        bias = np.zeros((directions, padded), np.float32)
        bias[:, :hidden] = rng.standard_normal((directions, hidden))
        inputs.append(Value("b", bias.shape, "float32", constant=bias))
        kind = dataclasses.replace(kind, extras=("candidate_bias",))
    results = ("y", "h", "c") if cell == "lstm" else ("y", "h")
    kind = dataclasses.replace(kind, results=results)
    y = Value("y", (steps, directions, batch, hidden), "float32")
    outputs = [y] + [
        Value(name, (directions, batch, hidden), "float32") for name in results[1:]
    ]
    return Operation(kind, inputs, outputs), matrix, arrays


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("cell", "hidden", "batch", "steps", "settings"),
    [
        ("lstm", 32, 1, 6, {}),
        ("lstm", 13, 2, 3, {"fixed": False}),
        ("gru", 20, 2, 4, {}),
        ("gru", 5, 1, 4, {"linear_before_reset": True}),
        ("rnn", 70, 1, 3, {"reverse": (True,)}),
        ("rnn", 3, 2, 2, {"reverse": (False, True)}),
    ],
)
def test_recurrence(target, cell, hidden, batch, steps, settings, rng):
    operation, matrix, arrays = operation_of(cell, hidden, batch, steps, rng, **settings)
    kind = operation.kind
    reverse = kind.reverse
    x = operation.inputs[0]
    array = rng.standard_normal(x.shape).astype(np.float32)
    assert recurrence.match(operation, target) == ""
    calls = recurrence.emit(operation, target)
    result = run_calls(calls, target, {x: fill(x, array), **arrays}, slices=2)
    apart = array.reshape(steps, batch, len(reverse), kind.gates, kind.padded_hidden)
    found = [read(value, result[value]) for value in operation.outputs]
    for d, backwards in enumerate(reverse):
        for b in range(batch):
            h = c = np.zeros(hidden)
            bias = operation.inputs[2].constant[d, :hidden] if kind.extras else 0
            for t in range(steps)[::-1] if backwards else range(steps):
                part = apart[t, b, d, :, :hidden].astype(np.float64)
                h, c = step(kind, part, h, c, matrix[d, ..., :hidden], bias)
                np.testing.assert_allclose(found[0][t, d, b], h, atol=5e-6)
            np.testing.assert_allclose(found[1][d, b], h, atol=5e-6)
            if cell == "lstm":
                np.testing.assert_allclose(found[2][d, b], c, atol=5e-6)


@pytest.mark.parametrize("target", [AVX2, AVX512, A53, ARMV7], ids=lambda t: t.name)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_matrix_in_8_bits(target, cell, rng):
    """The same as with the matrix that it stands for."""
    before = {"linear_before_reset": True} if cell == "gru" else {}
    operation, *_ = operation_of(cell, 13, 2, 3, rng, **before)
    kind, (x, matrix, *extras) = operation.kind, operation.inputs
    numbers = rng.integers(-127, 128, matrix.shape).astype(np.int8)
    scale = (rng.uniform(0.5, 2, (1, *matrix.shape[2:])) / 1000).astype(np.float32)
    whole = Value("r", matrix.shape, "float32", constant=numbers * scale[:, None])
    stored = Value("r8", matrix.shape, "int8", constant=numbers)
    scales = Value("s", scale.shape, "float32", constant=scale)
    scaled = dataclasses.replace(kind, extras=("recurrence_scale", *kind.extras))
    array = rng.standard_normal(x.shape).astype(np.float32)
    found = []
    for each, inputs in ((kind, [x, whole]), (scaled, [x, stored, scales])):
        own = Operation(each, [*inputs, *extras], operation.outputs)
        assert recurrence.match(own, target) == ""
        result = run_calls(recurrence.emit(own, target), target, {x: fill(x, array)}, slices=2)
        found.append([read(value, result[value]) for value in own.outputs])
    for float_result, result in zip(*found, strict=True):
        np.testing.assert_allclose(result, float_result, atol=5e-6)


def test_refusals(rng):
    operation, *_ = operation_of("rnn", 8, 1, 2, rng)
    fill_it = Operation(Fill(0), [], [operation.outputs[0]])
    assert recurrence.match(fill_it, AVX2) == "not a recurrent net"
    odd = dataclasses.replace(operation.kind, activations=((Activation("odd"),),))
    assert "odd" in recurrence.match(Operation(odd, operation.inputs, operation.outputs), AVX2)
