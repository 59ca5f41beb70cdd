"""A portable ONNX model to a plan for one target: the steps in order."""

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import onnx_ir as ir

from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError
from edgecomp.lower.assemble import assemble, set_aliases
from edgecomp.lower.compile import compiling
from edgecomp.lower.device_programs import device_programs
from edgecomp.lower.generalize import Constants, Seen, generalize
from edgecomp.lower.place_copies import place_copies
from edgecomp.lower.processor_part import (
    OnProcessor,
    processor_part,
    require_none_on_processor,
)
from edgecomp.lower.program import LaidOut, laid_out_program
from edgecomp.lower.read import Refusal
from edgecomp.lower.select import Selected, select
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
    """

    plan: Plan
    fallbacks: list[Refusal]
    kernel_choice: dict[str, int | str]
    on_processor: list[OnProcessor]


def lower(
    model: ir.Model,
    target: Target,
    *,
    name: str,
    require_full_target: bool = False,
    without: Collection[str] = (),
    table: CostTable | None = None,
    cache: pathlib.Path | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
    symbols: Sequence[Symbol] = (),
    variants: Iterable[Variant] = (),
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
        cache: folder of the object cache.
        workers: processes that compile, None for one per processor.
        progress: called with (step, done, in all).
        symbols: of dynamic dimensions.
        variants: the model at other sizes.

    Raises:
        EdgecompError: OPERATOR_UNSUPPORTED, FALLBACK_REFUSED, DIMENSION_FREE.
    """
    made = laid_out_program(model, target, name)
    program, fallbacks = made.program, made.fallbacks
    if require_full_target and fallbacks:
        lines = [f"{f.operator} '{f.node}': {f.reason}" for f in fallbacks]
        raise EdgecompError(
            Code.FALLBACK_REFUSED,
            "\n  ".join([f"{len(fallbacks)} operators need the fallback", *lines]),
            node=fallbacks[0].node,
            source=fallbacks[0].source,
            hint="build without --require-full-target, or rewrite these operators",
        )
    if symbols:
        make_dynamic(made, target, symbols, variants)
    set_aliases(program)
    why_not = why_not_on_gpu(made, symbols)
    selected = select(program, target, without, table, allow_gpu=not why_not)
    on_processor: list[OnProcessor] = []
    if target.gpu is not None:
        on_processor = processor_part(selected, why_not)
        if require_full_target:
            require_none_on_processor(on_processor)
        if not why_not:
            selected = place_copies(program, selected)

    def compiled(done: int, total: int) -> None:
        if progress:
            progress("compile kernels", done, total)

    calls = [call for choice in selected for call in choice.calls]
    kernels = [call.kernel for call in calls if call.launch is None]
    with compiling(kernels, target, cache=cache, workers=workers, progress=compiled) as finish:
        plan = assemble(program, selected, target, {}, made.regions)
        plan.programs = device_programs(calls, target)
        plan.objects = finish()
    return Lowered(plan, fallbacks, _kernel_choice(selected, table), on_processor)


def why_not_on_gpu(made: LaidOut, symbols: Sequence[Symbol]) -> str:
    """Why all of a model runs on the processor, "" where a GPU may take a part."""
    if symbols:
        return "its dimensions differ from run to run"
    return "it has branches or loops" if made.regions else ""


def make_dynamic(
    made: LaidOut, target: Target, symbols: Sequence[Symbol], variants: Iterable[Variant]
) -> None:
    """Put expressions of the symbols into a program of the largest sizes.

    Args:
        made: changed.
        target: that it was made for.
        symbols: of dynamic dimensions.
        variants: the model at other sizes, each looked at once.

    Raises:
        EdgecompError: DIMENSION_FREE naming the operation that is another one at other sizes.
    """
    seen = [Seen({symbol: symbol.maximum for symbol in symbols}, made)]
    constants = Constants()
    constants.share(made.program)
    for variant in variants:
        other = laid_out_program(variant.model, target, made.program.name)
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
