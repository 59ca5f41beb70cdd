"""A portable ONNX model to a plan for one target: the steps in order."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import onnx_ir as ir

from edgecomp.cache_folder import cache_folder
from edgecomp.device.accelerators import require_accelerators
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.graph.qdq import value_products
from edgecomp.lower.assemble import assemble, set_aliases
from edgecomp.lower.choose import Asked, Chosen, choose
from edgecomp.lower.compile import compiling
from edgecomp.lower.compile_ahead import AheadCompiler
from edgecomp.lower.device_programs import device_programs
from edgecomp.lower.generalize import Constants, Seen, generalize
from edgecomp.lower.narrow_values import stored_as
from edgecomp.lower.place_by_cost import Placement
from edgecomp.lower.place_copies import root_of
from edgecomp.lower.plan_weights import PlanWeights
from edgecomp.lower.processor_part import OnProcessor
from edgecomp.lower.program import LaidOut, laid_out_program
from edgecomp.lower.read import Refusal
from edgecomp.lower.select import Selected
from edgecomp.lower.shaders import is_for_app, require_whole, with_shaders
from edgecomp.plan.plan import Plan
from edgecomp.plan.sizes import Symbol
from edgecomp.schedules.cost_table import CostTable
from edgecomp.schedules.signature import signature

Progress = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A model with dynamic dimensions at some sizes.

    Attributes:
        sizes: value of every symbol.
        model: static shapes.
    """

    sizes: Mapping[Symbol, int]
    model: ir.Model


@dataclasses.dataclass(frozen=True)
class Lowered:
    """What lowering gives.

    Attributes:
        plan: the static plan.
        fallbacks: nodes that no schedule could express, with the reason.
        kernel_choice: how many layers got their kernel by measurement and how many by the
            cost model, and where it was measured.
        on_processor: what the target's GPU does not compute; empty where it has none.
        placement: where each operation runs and why, where that was decided by cost.
        narrow: names of the values that the GPU stores in 16 bits.
    """

    plan: Plan
    fallbacks: list[Refusal]
    kernel_choice: dict[str, int | str]
    on_processor: list[OnProcessor]
    placement: Placement | None = None
    narrow: tuple[str, ...] = ()


def lower(
    model: ir.Model,
    target: Target,
    *,
    name: str,
    require_full_target: bool = False,
    without: Collection[str] = (),
    table: CostTable | None = None,
    accelerators: Collection[str] = (),
    floats: str = "float32",
    wide: Collection[str] = (),
    tf32: bool = False,
    cpu_plan: bool = True,
    cache: pathlib.Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    symbols: Sequence[Symbol] = (),
    variants: Iterable[Variant] = (),
    ahead: AheadCompiler | None = None,
) -> Lowered:
    """Lower a model.

    Args:
        model: float or QDQ, static shapes; not changed. Where it has dynamic dimensions, they
            are the largest.
        target: device.
        name: of the model; made a C identifier.
        require_full_target: refuse the fallback, and what the target's GPU does not compute.
        without: names of schedules that are not used.
        table: measured kernels of the target.
        accelerators: what computes, "cpu", "gpu" or both; for both, each operation runs where a
            run costs least. None is "gpu" on a target that has one.
        floats: what the target's GPU stores float32 values in between its kernels: float16 or
            bfloat16, where the processor does not need them.
        wide: names of values that stay float32 all the same.
        tf32: whether the GPU's products of float32 may be of tf32.
        cpu_plan: whether a plan with calls for a GPU gets one of the processor alone beside it.
        cache: folder of the object cache.
        workers: processes that compile, None for one per processor.
        progress: called with (step, done, in all).
        symbols: of dynamic dimensions.
        variants: the model at other sizes.
        ahead: what compiles, None for processes of this one; started here at the latest.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, FALLBACK_REFUSED, DIMENSION_FREE; USAGE where the
            target has not what ``accelerators`` name.
    """
    require_accelerators(target, accelerators)
    for_app = is_for_app(target, accelerators)
    if for_app:
        require_whole(target, accelerators, cpu_plan=cpu_plan)
    if ahead is not None:
        ahead.start()
    if target.gpu is not None:
        target = dataclasses.replace(target, floats=floats, tf32=tf32)
    made = laid_out_program(model, target, name, is_dynamic=bool(symbols))
    if require_full_target:
        _require_no_fallback(made.fallbacks)
    if symbols:
        make_dynamic(made, target, symbols, variants, value_products(model))
    set_aliases(made.program)
    weights = PlanWeights()
    asked = Asked(
        require_full_target=require_full_target,
        without=without,
        table=table,
        accelerators=accelerators,
        wide=wide,
        cpu_plan=cpu_plan,
    )
    chosen = choose(made, target, asked, weights, symbols)

    def compiled(done: int, total: int) -> None:
        if progress:
            progress("compile kernels", done, total)

    with compiling(
        chosen.compiled, target, cache=cache, workers=workers, progress=compiled, ahead=ahead
    ) as finish:
        plan = assembled(chosen, target, weights, made)
        if for_app:
            plan = with_shaders(plan, chosen.calls, target)
        else:
            plan.programs = device_programs(chosen.calls, target, cache or cache_folder())
        plan.weights = weights.finish()
        plan.objects = finish()
    return Lowered(
        plan,
        made.fallbacks,
        _kernel_choice(chosen.selected, table),
        chosen.on_processor,
        chosen.placement,
        tuple(sorted({root_of(value).name for value in chosen.narrow})),
    )


def _require_no_fallback(fallbacks: Sequence[Refusal]) -> None:
    if fallbacks:
        lines = [f"{f.operator} '{f.node}': {f.reason}" for f in fallbacks]
        raise EdgecompError(
            Code.FALLBACK_REFUSED,
            "\n  ".join([f"{len(fallbacks)} operators need the fallback", *lines]),
            node=fallbacks[0].node,
            source=fallbacks[0].source,
            hint="build without --require-full-target, or rewrite these operators",
        )


def assembled(chosen: Chosen, target: Target, weights: PlanWeights, made: LaidOut) -> Plan:
    """The plan, with that of the processor alone beside it."""
    with stored_as(chosen.narrow, target.floats):
        plan = assemble(chosen.program, chosen.selected, target, weights, made.regions)
    if chosen.instead:
        cpu = dataclasses.replace(target, gpu=None)
        plan.cpu_plan = assemble(chosen.on_cpu, chosen.instead, cpu, weights, made.regions)
    return plan


def make_dynamic(
    made: LaidOut,
    target: Target,
    symbols: Sequence[Symbol],
    variants: Iterable[Variant],
    products: Collection[str],
) -> None:
    """Put expressions of the symbols into a program of the largest sizes.

    Args:
        made: changed.
        target: that it was made for.
        symbols: of dynamic dimensions.
        variants: the model at other sizes, each looked at once.
        products: names of those of two values that are integers at the largest sizes.

    Raises:
        EdgecompError: DIMENSION_FREE naming the operation that is another one at other sizes.
    """
    seen = [Seen({symbol: symbol.maximum for symbol in symbols}, made)]
    constants = Constants()
    constants.share(made.program)
    for variant in variants:
        other = laid_out_program(
            variant.model,
            target,
            made.program.name,
            is_dynamic=True,
            value_products=products,
        )
        constants.share(other.program)
        seen.append(Seen(variant.sizes, other))
    generalize(seen)
    made.program.symbols = tuple(symbols)


def _kernel_choice(selected: list[Selected], table: CostTable | None) -> dict[str, int | str]:
    """For the report: the layers that could have been measured."""
    choosable = [choice for choice in selected if signature(choice.operation)]
    measured = sum(choice.measured is not None for choice in choosable)
    counts: dict[str, int | str] = {
        "by_measurement": measured,
        "by_cost_model": len(choosable) - measured,
    }
    if table is not None and measured:
        counts |= {"measured_on": table.header.device, "measured_at": table.header.date}
    return counts
