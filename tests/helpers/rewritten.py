"""Programs in their layout that a step makes others of, and what these compute."""

import numpy as np

from edgecomp.graph.run import random_feeds, run_model
from edgecomp.lower.assemble import set_aliases
from edgecomp.lower.program import laid_out_program
from edgecomp.lower.select import select
from helpers.kernels import run_calls


def rewritten(model, target, step):
    """The program, which stays as it is, and the one that a step makes of it."""
    program = laid_out_program(model, target).program
    set_aliases(program)
    before = list(program.operations)
    after = step(program)
    assert program.operations == before
    return program, after


def check_results(model, program, target, **more):
    """Run the kernels of a program, beside onnxruntime on its model; the calls."""
    calls = [call for choice in select(program, target) for call in choice.calls]
    feeds = random_feeds(model, 0)
    buffers = {value: feeds[value.name].reshape(-1) for value in program.inputs}
    results = run_calls(calls, target, buffers, **more)
    (want,) = run_model(model, feeds).values()
    found = results[calls[-1].arguments[-1]].reshape(want.shape)
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6)
    return calls
