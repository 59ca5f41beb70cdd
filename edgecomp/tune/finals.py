"""The best kernels of every layer once more, now in the whole model.

A layer timed by itself meets the caches nearly as in the model, not quite: which lines its
producer left where, what its consumer still waits for, whose addresses collide. So the model is
built a few times: with the kernels of an untuned build, with the kernels that were fastest, with
the second fastest. All run in turns, each call is timed, and the times of a layer's kernels in
there are what counts.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from edgecomp.bench.device import Device
from edgecomp.bench.line_process import LineProcess
from edgecomp.bench.statistics import summarize
from edgecomp.device.target import Target
from edgecomp.lower.lower import lower
from edgecomp.plan.plan import Plan
from edgecomp.progress import Progress
from edgecomp.schedules.candidates import Candidate
from edgecomp.schedules.cost_table import CostTable, Measured
from edgecomp.tune.layers import Layer, ModelLayers
from edgecomp.tune.measure import WARMUP_ROUNDS, MeasureSettings, profile, running

#: Kernels of a layer that are tried in the model beside the untuned build's.
FINALISTS = 3
#: Rounds for each one of the layers' own: calls are short and the model is run as a whole.
ROUNDS_FACTOR = 3


def need_finals(found: ModelLayers, table: CostTable) -> bool:
    """Whether a layer of the model was not yet measured in a model."""
    return any(_is_new(layer, table) for layer in found.layers)


def run_finals(
    model: ir.Model,
    found: ModelLayers,
    table: CostTable,
    target: Target,
    device: Device,
    settings: MeasureSettings,
    progress: Progress,
) -> None:
    """Measure in the model and put the times into the table, for layers without such."""
    choices = [_choose(layer, table) for layer in found.layers]
    variants = [
        CostTable(table.header, [own[min(i, len(own) - 1)] for own in choices])
        for i in range(max(len(own) for own in choices))
    ]
    with contextlib.ExitStack() as stack:
        loaded: list[tuple[Plan, LineProcess]] = []
        for index, variant in enumerate(variants):
            progress("build the model with the best kernels", index, len(variants))
            loaded.append(
                stack.enter_context(_built(model, variant, target, device, settings))
            )
        rounds = WARMUP_ROUNDS + ROUNDS_FACTOR * settings.rounds
        times: list[list[list[int]]] = [[] for _ in loaded]
        for number in range(rounds):
            progress("measure them in the model", number, rounds)
            for own, (_, process) in zip(times, loaded, strict=True):
                own.append(profile(process))
    fresh = {layer.signature for layer in found.layers if _is_new(layer, table)}
    for variant, (plan, _), own in zip(variants, loaded, times, strict=True):
        in_model = _by_layer(plan, found, own[WARMUP_ROUNDS:])
        for name in fresh & in_model.keys():
            (entry,) = variant.entries(name)
            table.add(dataclasses.replace(entry, in_model_ns=in_model[name]))


def _is_new(layer: Layer, table: CostTable) -> bool:
    """Whether no kernel of the layer was measured in a model yet."""
    return not any(entry.in_model_ns for entry in layer.known(table))


def _choose(layer: Layer, table: CostTable) -> list[Measured]:
    """The untuned build's kernel, then those that were fastest alone."""
    ranked = sorted(layer.known(table), key=lambda entry: entry.price)
    own = [e for e in ranked if Candidate(e.schedule, e.params) == layer.candidates[0]]
    others = [entry for entry in ranked if entry not in own]
    return [*own, *others[: FINALISTS + 1 - len(own)]]


@contextlib.contextmanager
def _built(
    model: ir.Model,
    variant: CostTable,
    target: Target,
    device: Device,
    settings: MeasureSettings,
) -> Iterator[tuple[Plan, LineProcess]]:
    """The model with the kernels of a variant, loaded on the device."""
    lowered = lower(
        model,
        target,
        name="tune",
        table=variant,
        accelerators=("cpu",),
        cache=settings.cache,
    )
    with running(lowered.plan, target, device, settings) as process:
        yield lowered.plan, process


def _by_layer(
    plan: Plan, found: ModelLayers, rounds: Sequence[Sequence[int]]
) -> dict[str, int]:
    """Nanoseconds of a call of each kind of layer: the mean over those in the model."""
    totals: dict[str, list[float]] = {}
    for nodes, indices in _calls_of(plan).items():
        name = found.signatures.get(nodes)
        if name is not None:
            runs = [sum(times[i] for i in indices) for times in rounds]
            totals.setdefault(name, []).append(summarize(runs).p25_ns)
    return {name: max(1, round(float(np.mean(times)))) for name, times in totals.items()}


def _calls_of(plan: Plan) -> dict[tuple[str, ...], list[int]]:
    """Indices of the calls of each operation, by its nodes."""
    calls: dict[tuple[str, ...], list[int]] = {}
    for index, call in enumerate(plan.calls):
        calls.setdefault(call.nodes, []).append(index)
    return calls
