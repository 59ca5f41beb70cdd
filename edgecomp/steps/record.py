"""Portable model to all that a bundle is written from: golden vectors and plan."""

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir

from edgecomp.bundle.record import Record
from edgecomp.device.target import Target
from edgecomp.graph.portable import serialize
from edgecomp.graph.qdq import rounds_to_integers
from edgecomp.graph.run import run_model
from edgecomp.lower.lower import lower
from edgecomp.lower.read import read_program, require_possible
from edgecomp.options import BuildOptions
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.reference.interpreter import run_reference
from edgecomp.reference.rounding import rounding_spread
from edgecomp.schedules.cpu import winograd
from edgecomp.schedules.tuned import table_for
from edgecomp.steps.prepare import Prepared


def make_record(
    prepared: Prepared, target: Target, options: BuildOptions, name: str, progress: Progress
) -> Record:
    """Compute golden vectors and plan.

    Args:
        prepared: its facts are completed.
        target: device to compile for.
        options: of the build.
        name: C identifier of the model.
        progress: told about every step.

    Raises:
        EdgecompError: an operator cannot be compiled or computed; COST_TABLE_INVALID.
    """
    table = table_for(target, options.cost_table)
    # The order of these three: a list of all operators that cannot be compiled says more than
    # the first one that the reference cannot run; and a model that the reference cannot run is
    # wrong in a way that lowering need not survive.
    progress("compute golden vectors")
    require_possible(read_program(prepared.model, target, name)[1])
    golden = [
        (dict(feeds), golden_outputs(prepared.model, feeds)) for feeds in prepared.samples
    ]
    if rounds_to_integers(prepared.model):
        spreads = [rounding_spread(prepared.model, *vector) for vector in golden]
        if any(spreads):
            prepared.facts["rounding_spread"] = spreads
    progress("lower")
    lowered = lower(
        prepared.model,
        target,
        name=name,
        require_full_target=options.require_full_target,
        without=() if options.winograd else (winograd.NAME,),
        table=table,
        cache=options.cache_dir,
        progress=progress,
    )
    prepared.facts["fallbacks"] = [dataclasses.asdict(f) for f in lowered.fallbacks]
    prepared.facts["kernel_choice"] = lowered.kernel_choice
    return Record(lowered.plan, *serialize(prepared.model), golden, prepared.facts)


def golden_outputs(model: ir.Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What the model means: the numpy reference where it is quantized, else onnxruntime."""
    if rounds_to_integers(model):
        return run_reference(model, feeds)
    return run_model(model, feeds)
