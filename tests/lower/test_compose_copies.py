import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
from helpers.graphs import Graph
from helpers.targets import AVX512

from edgecomp.graph.run import random_feeds, run_model
from edgecomp.lower.fuse_moves import fuse_moves
from edgecomp.lower.read import read_program
from edgecomp.plan.movement import Reinterpret, StridedCopy


def run(program, feeds):
    """The moves of a program, as plan/operations.py defines them."""
    memory = {value: feeds[value.name] for value in program.inputs}
    for operation in program.operations:
        (x,), y, kind = operation.inputs, operation.output, operation.kind
        if isinstance(kind, Reinterpret):
            memory[y] = memory[x].reshape(y.shape)
            continue
        assert isinstance(kind, StridedCopy)
        result = memory.setdefault(y, np.full(y.shape, np.nan, np.float32))
        source = memory[x].reshape(kind.in_shape or x.shape)
        result = result.reshape(kind.out_shape or y.shape)
        for index in np.ndindex(*kind.shape):
            at = [
                start + (index[follows] * step if follows >= 0 else 0)
                for start, step, follows in zip(
                    kind.in_start, kind.in_step, kind.permutation, strict=True
                )
            ]
            to = [
                start + i * step
                for start, i, step in zip(kind.out_start, index, kind.out_step, strict=True)
            ]
            result[tuple(to)] = source[tuple(at)]
    return [memory[value] for value in program.outputs]


def check(g, *outputs):
    """Composed moves give onnxruntime's numbers; returns the program."""
    model = g.model(*outputs)
    feeds = random_feeds(model, 0)
    program, refusals = read_program(model, AVX512, "test")
    assert not refusals
    fuse_moves(program)
    for found, value in zip(run(program, feeds), model.graph.outputs, strict=True):
        np.testing.assert_array_equal(found, run_model(model, feeds)[value.name])
    return program


def kinds(program):
    return [type(operation.kind) for operation in program.operations]


def test_queries_keys_and_values_are_one_copy_each():
    g = Graph()
    x = g("Reshape", g.input("x", (1, 5, 24)), np.array([1, 5, 3, 2, 4]))
    parts = g("Split", g("Transpose", x, perm=[2, 0, 3, 1, 4]), outputs=3, num_outputs=3)
    q, k, v = (g("Reshape", part, np.array([1, 2, 5, 4])) for part in parts)
    program = check(g, q, g("Transpose", k, perm=[0, 1, 3, 2]), v)
    assert kinds(program).count(StridedCopy) == 3
    assert all(o.inputs[0] in program.inputs for o in program.operations if o.inputs)


def test_a_transposed_concatenation_writes_its_parts_in_place():
    g = Graph()
    joined = g("Concat", g.input("a", (1, 6, 8)), g.input("b", (1, 1, 8)), axis=1)
    heads = g("Reshape", joined, np.array([1, 7, 2, 4]))
    program = check(g, g("Transpose", heads, perm=[0, 2, 3, 1]))
    assert kinds(program) == [StridedCopy, StridedCopy]


def test_what_is_read_twice_is_copied_once():
    g = Graph()
    x = g("Transpose", g.input("x", (3, 4, 5)), perm=[2, 1, 0])
    program = check(g, g("Transpose", x, perm=[1, 0, 2]), g("Transpose", x, perm=[0, 2, 1]))
    assert kinds(program).count(StridedCopy) == 3


def cut(data, extent):
    """Factors of an extent."""
    factors = []
    while extent > 1:
        factor = data.draw(
            st.sampled_from([f for f in range(2, extent + 1) if extent % f == 0])
        )
        factors.append(factor)
        extent //= factor
    return factors or [1]


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(data=st.data())
def test_any_chain_of_moves(data):
    g = Graph()
    shape = data.draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=2, max_size=4))
    value = g.input("x", tuple(shape))
    for _ in range(data.draw(st.integers(1, 5))):
        move = data.draw(st.sampled_from(["transpose", "cut", "join", "slice", "concat"]))
        axis = data.draw(st.integers(0, len(shape) - 1))
        if move == "transpose":
            order = data.draw(st.permutations(range(len(shape))))
            value = g("Transpose", value, perm=order)
            shape = [shape[d] for d in order]
        elif move == "cut":
            shape = [*shape[:axis], *cut(data, shape[axis]), *shape[axis + 1 :]]
            value = g("Reshape", value, np.array(shape))
        elif move == "join" and axis:
            shape = [*shape[: axis - 1], shape[axis - 1] * shape[axis], *shape[axis + 1 :]]
            value = g("Reshape", value, np.array(shape))
        elif move == "slice":
            begin = data.draw(st.integers(0, shape[axis] - 1))
            step = data.draw(st.integers(1, 2))
            arrays = (np.array([n]) for n in (begin, shape[axis], axis, step))
            value = g("Slice", value, *arrays)
            shape[axis] = math.ceil((shape[axis] - begin) / step)
        elif move == "concat":
            other = g.input(f"y{len(g.inputs)}", tuple(shape))
            value = g("Concat", value, other, axis=axis)
            shape[axis] *= 2
        if math.prod(shape) > 2000:
            break
    check(g, g("Identity", value))
