"""Portable model to all that a bundle is written from: golden vectors and plan."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from edgecomp.bundle.record import Record
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.counts import counted_values
from edgecomp.graph.loop_form import may_not_end
from edgecomp.graph.portable import serialize
from edgecomp.graph.qdq import rounds_to_integers
from edgecomp.graph.run import run_model
from edgecomp.graph.shapes import static_shape
from edgecomp.lower.compile_ahead import AheadCompiler
from edgecomp.lower.lower import Lowered, Variant, lower
from edgecomp.lower.memory import arena_bytes_of
from edgecomp.lower.read import read_program, require_possible
from edgecomp.options import GPU_FLOATS, BuildOptions
from edgecomp.plan.plan import Plan
from edgecomp.plan.sizes import Symbol
from edgecomp.plan.values import Array
from edgecomp.progress import Progress
from edgecomp.reference.interpreter import run_reference
from edgecomp.reference.rounding import rounding_spread
from edgecomp.schedules.gpu.halves import HALF_RUN
from edgecomp.schedules.tuned import table_for
from edgecomp.steps.dynamic import golden_sizes, symbols_of, variants_of
from edgecomp.steps.half_values import HalfValues, half_values
from edgecomp.steps.placement_facts import placement_facts
from edgecomp.steps.places import uses_gpu
from edgecomp.steps.prepare import Prepared
from edgecomp.steps.watched_shapes import WatchedShapes
from edgecomp.steps.without import left_out

logger = logging.getLogger(__name__)

#: Inputs and outputs of a model.
_Vector = tuple[dict[str, Array], dict[str, Array]]
#: Sizes of dynamic dimensions, and shapes of the outputs there.
_Shapes = tuple[dict[str, int], list[tuple[int, ...]]]


def make_record(
    prepared: Prepared,
    target: Target,
    options: BuildOptions,
    name: str,
    progress: Progress,
    at_sizes: Callable[[Mapping[str, int], Prepared], Prepared] | None = None,
    ahead: AheadCompiler | None = None,
) -> Record:
    """Compute golden vectors and plan.

    Args:
        prepared: its facts are completed.
        target: device to compile for.
        options: of the build.
        name: C identifier of the model.
        progress: told about every step.
        at_sizes: prepares the model at other sizes of its dynamic dimensions, given by name,
            as it was prepared at the largest.
        ahead: what compiles kernels, None for processes of this one.

    Raises:
        EdgecompError: an operator cannot be compiled or computed; COST_TABLE_INVALID.
    """
    table = table_for(target, options.cost_table)
    # The order of these three: a list of all operators that cannot be compiled says more than
    # the first one that the reference cannot run; and a model that the reference cannot run is
    # wrong in a way that lowering need not survive.
    progress("compute golden vectors")
    require_possible(read_program(prepared.model, target, name)[1])
    golden = _golden_vectors(prepared)
    spreads = _spreads(prepared.model, golden)
    symbols = symbols_of(prepared.model)
    variants: Iterable[Variant] = ()
    model_shapes: list[_Shapes] = []
    if symbols:
        assert at_sizes is not None
        variants, vectors, more, model_shapes = _at_other_sizes(prepared, symbols, at_sizes)
        golden += vectors
        spreads += more
    floats = _floats_of(target, options, str(prepared.facts.get("precision", "")))
    if options.allow_tf32:
        _require_tf32(target)
    halves = None
    if (floats != "float32" or options.allow_tf32) and not symbols:
        progress("round values to fewer bits")
        halves = _half_values(prepared.model, golden, target, floats)
    progress("lower")
    lowered = lower(
        prepared.model,
        target,
        name=name,
        require_full_target=options.require_full_target,
        without=left_out(options),
        table=table,
        accelerators=options.accelerators,
        floats=floats,
        wide=halves.wide if halves is not None else (),
        tf32=options.allow_tf32,
        cpu_plan=options.cpu_plan,
        cache=options.cache_dir,
        progress=progress,
        symbols=symbols,
        variants=variants,
        ahead=ahead,
    )
    if halves is not None and (lowered.narrow or options.allow_tf32):
        spreads = [_larger(a, b) for a, b in zip(spreads, halves.spreads, strict=True)]
    if any(spreads):
        prepared.facts["rounding_spread"] = spreads
    for sizes, shapes in model_shapes:
        steps = {symbol.name: symbol.step for symbol in symbols}
        _require_shapes(lowered.plan, sizes, steps, shapes)
    prepared.facts |= _facts(lowered, target, halves if floats != "float32" else None, floats)
    if prepared.gain is not None:
        gain = prepared.gain.with_arena(arena_bytes_of(lowered.plan))
        prepared.facts["gain"] = gain.facts()
    return Record(lowered.plan, *serialize(prepared.model), golden, prepared.facts)


def _golden_vectors(prepared: Prepared) -> list[_Vector]:
    samples = [feeds for feeds in prepared.samples if _is_within(prepared.model, feeds)]
    if len(samples) < len(prepared.samples):
        logger.warning(
            "%d of %d samples find more or fewer elements than --bound allows: they are no "
            "golden vectors",
            len(prepared.samples) - len(samples),
            len(prepared.samples),
        )
    return [(dict(feeds), golden_outputs(prepared.model, feeds)) for feeds in samples]


def _at_other_sizes(
    prepared: Prepared,
    symbols: Sequence[Symbol],
    at_sizes: Callable[[Mapping[str, int], Prepared], Prepared],
) -> tuple[Iterable[Variant], list[_Vector], list[dict[str, float]], list[_Shapes]]:
    """What a model with dynamic dimensions is at other sizes than the largest.

    Returns:
        The model as lowering looks at it; golden vectors; what rounding changes in them; and the
        shapes of the outputs.
    """
    watch = WatchedShapes(symbols, prepared.model)
    golden: list[_Vector] = []
    spreads: list[dict[str, float]] = []
    shapes: list[_Shapes] = []
    for sizes in golden_sizes(symbols):
        other = at_sizes(sizes, prepared)
        shapes.append((sizes, _output_shapes(other.model)))
        watch.note(sizes, other.model)
        feeds = [f for f in other.samples[:1] if _is_within(other.model, f)]
        vectors = [(dict(f), golden_outputs(other.model, f)) for f in feeds]
        golden += vectors
        spreads += _spreads(other.model, vectors)

    def model_at(sizes: Mapping[str, int]) -> ir.Model:
        return at_sizes(sizes, prepared).model

    prepared.facts["dynamic"] = _bounds(filter(_is_given, symbols))
    prepared.facts["sizes_that_the_data_decides"] = _bounds(
        symbol for symbol in symbols if symbol.is_counted
    )
    variants = watch.watched(variants_of(symbols, model_at), model_at)
    return variants, golden, spreads, shapes


def _facts(
    lowered: Lowered, target: Target, halves: HalfValues | None, floats: str
) -> dict[str, Any]:
    """Of the plan, for the report."""
    facts: dict[str, Any] = {
        "fallbacks": [dataclasses.asdict(f) for f in lowered.fallbacks],
        "kernel_choice": lowered.kernel_choice,
    }
    if target.gpu is not None:
        facts["on_the_processor"] = [str(part) for part in lowered.on_processor]
    if halves is not None:
        facts["gpu_floats"] = {
            "stored_as": floats,
            "values": len(lowered.narrow),
            "stay_float32": sorted(halves.wide),
        }
    if lowered.placement is not None:
        facts |= placement_facts(lowered.placement)
    return facts


def _floats_of(target: Target, options: BuildOptions, precision: str) -> str:
    """What the target's GPU stores float32 values in."""
    return GPU_FLOATS.get(precision, "float32") if uses_gpu(target, options) else "float32"


def _half_values(
    model: ir.Model,
    golden: list[_Vector],
    target: Target,
    floats: str,
) -> HalfValues | None:
    """What fewer bits do to the golden vectors; None where onnxruntime has not computed them."""
    if rounds_to_integers(model) or may_not_end(model):
        return None
    assert target.gpu is not None
    in_half = floats == "float16" and "fp16" in target.gpu.features
    # tf32 has as many bits of mantissa as float16.
    rounded = "float16" if floats == "float32" else floats
    return half_values(model, golden, rounded, HALF_RUN if in_half else 0)


def _require_tf32(target: Target) -> None:
    if target.gpu is None or "tf32_mma" not in target.gpu.features:
        raise EdgecompError(
            Code.USAGE,
            f"--allow-tf32: target {target.name} has no tensor cores for tf32",
            hint="leave it out",
        )


def _larger(a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, float]:
    return {name: max(a.get(name, 0.0), b.get(name, 0.0)) for name in sorted({*a, *b})}


def _is_within(model: ir.Model, feeds: Mapping[str, Array]) -> bool:
    """Whether all counts of a run are within their bounds."""
    counted = counted_values(model)
    if not counted:
        return True
    results = run_model(model, feeds, list(counted))
    return all(
        bounds.minimum <= results[name].shape[d] <= bounds.maximum
        for name, (d, bounds) in counted.items()
    )


def _bounds(symbols: Iterable[Symbol]) -> dict[str, list[int]]:
    return {s.name: [s.minimum * s.step, s.maximum * s.step] for s in symbols}


def _is_given(symbol: Symbol) -> bool:
    return not symbol.is_counted


def _output_shapes(model: ir.Model) -> list[tuple[int, ...]]:
    return [static_shape(value) or () for value in model.graph.outputs]


def _require_shapes(
    plan: Plan,
    sizes: Mapping[str, int],
    steps: Mapping[str, int],
    shapes: Sequence[tuple[int, ...]],
) -> None:
    """The smallest and odd sizes have no part in the plan: its shapes have to hold there too."""
    for port, wanted in zip(plan.outputs, shapes, strict=True):
        values = {name: size // steps[name] for name, size in sizes.items()}
        found = plan.shape_of(port, values)
        if found != wanted:
            where = ", ".join(f"{name}={size}" for name, size in sizes.items())
            raise EdgecompError(
                Code.DIMENSION_FREE,
                f"output '{port.name}' is {list(wanted)} at {where}, where other sizes let "
                f"expect {list(found)}: the model is another one there",
                node=port.name,
                hint="narrow the bounds of --input to sizes at which the model does the same",
            )


def _spreads(model: ir.Model, golden: list[_Vector]) -> list[dict[str, float]]:
    if not rounds_to_integers(model):
        return [{} for _ in golden]
    return [rounding_spread(model, *vector) for vector in golden]


def golden_outputs(model: ir.Model, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """What the model means: the numpy reference where it is quantized, else onnxruntime."""
    # The reference gives rows of a loop whose rounds depend on the data their declared size.
    if rounds_to_integers(model) or may_not_end(model):
        return run_reference(model, feeds)
    return run_model(model, feeds)
