"""Who computes what: kernels of the target's GPU, of its processor, and of a plan beside them."""

import dataclasses
from collections.abc import Collection, Sequence

from edgecomp.device.target import Target
from edgecomp.lower.claims import gpu_claims
from edgecomp.lower.cost import multiply_adds
from edgecomp.lower.fuse_attention import fuse_attention
from edgecomp.lower.fuse_integer_attention import fuse_integer_attention
from edgecomp.lower.fuse_product_copies import fuse_product_copies
from edgecomp.lower.fuse_value_products import fuse_value_products
from edgecomp.lower.narrow_values import narrow_values, stored_as
from edgecomp.lower.place_by_cost import Placement, place_by_cost
from edgecomp.lower.place_copies import place_copies, root_of
from edgecomp.lower.plan_weights import PlanWeights
from edgecomp.lower.price_devices import price_devices
from edgecomp.lower.processor_part import (
    OnProcessor,
    processor_part,
    require_none_on_processor,
)
from edgecomp.lower.program import LaidOut, processor_program
from edgecomp.lower.select import Selected, find_gpu_schedule, select, why_refused
from edgecomp.lower.shaders import is_for_app
from edgecomp.plan.operations import Program
from edgecomp.plan.sizes import Symbol
from edgecomp.plan.values import Value
from edgecomp.schedules.builder import Kernel
from edgecomp.schedules.cost_table import CostTable
from edgecomp.schedules.schedule import KernelCall

#: Of a model's multiply-adds, that a GPU computes where dimensions are dynamic.
_LEAST_SHARE = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """What a build asks of the choice; the fields are those of ``lower``."""

    require_full_target: bool
    without: Collection[str]
    table: CostTable | None
    accelerators: Collection[str]
    wide: Collection[str]
    cpu_plan: bool


@dataclasses.dataclass(frozen=True)
class Chosen:
    """Kernels of a program.

    Attributes:
        program: as the first plan computes it.
        selected: its kernels.
        on_cpu: the program as the processor computes it alone.
        instead: kernels of a plan for that; none where there is no such plan.
        on_processor: what the target's GPU does not compute; empty where it has none.
        placement: where each operation runs and why, where that was decided by cost.
        narrow: values that the GPU stores in 16 bits.
    """

    program: Program
    selected: list[Selected]
    on_cpu: Program
    instead: list[Selected]
    on_processor: list[OnProcessor]
    placement: Placement | None
    narrow: list[Value]

    @property
    def calls(self) -> list[KernelCall]:
        """Those of the first plan."""
        return _calls(self.selected)

    @property
    def compiled(self) -> list[Kernel]:
        """The kernels that are the processor's."""
        calls = (*self.calls, *_calls(self.instead))
        return [call.kernel for call in calls if call.launch is None]


def choose(
    made: LaidOut,
    target: Target,
    asked: Asked,
    weights: PlanWeights,
    symbols: Sequence[Symbol] = (),
) -> Chosen:
    """Choose the kernels.

    Args:
        made: program in its layout; views are set.
        target: device.
        asked: limits of the choice.
        weights: of the plan, which are taken as they are packed.
        symbols: of dynamic dimensions.

    Raises:
        EdgecompError: FALLBACK_REFUSED where the GPU does not compute all that it has to.
    """
    program, without, table = made.program, asked.without, asked.table
    why_not = why_not_on_gpu(made, target, symbols, asked.accelerators, without)
    placement = None
    if not why_not and {"cpu", "gpu"} <= set(asked.accelerators):
        placement = _placement(program, target, without, table)
    left = placement.left if placement else {}
    on_cpu = processor_program(made, target)
    if target.gpu is None or why_not:
        program = on_cpu
    else:
        program = fuse_attention(program, target, without, left)
        program = fuse_value_products(program, gpu_claims(target, without), left)
    narrow: list[Value] = []
    if not why_not and target.floats != "float32":
        narrow = narrow_values(program, target, without, left, asked.wide)
    with stored_as(narrow, target.floats):
        if target.gpu is not None and not why_not:
            claims = gpu_claims(target, without)  # which depend on how values are stored
            program = fuse_product_copies(program, claims, left, way_bytes=None)
            program = fuse_integer_attention(program, claims, left)
            narrow = _in_use(narrow, program)
        selected = select(
            program, target, without, table, allow_gpu=not why_not, left=left, weights=weights
        )
    on_processor: list[OnProcessor] = []
    if target.gpu is not None:
        on_processor = processor_part(selected, why_not, left)
        _require_gpu(on_processor, target, asked)
        if not why_not and not is_for_app(target, asked.accelerators):
            selected = place_copies(program, selected)
    instead: list[Selected] = []
    if asked.cpu_plan and any(call.launch for call in _calls(selected)):
        instead = select(on_cpu, target, without, table, allow_gpu=False, weights=weights)
    return Chosen(program, selected, on_cpu, instead, on_processor, placement, narrow)


def _in_use(values: Sequence[Value], program: Program) -> list[Value]:
    """Those whose memory operations still touch, when others have taken copies in."""
    touched = {root_of(v) for o in program.operations for v in (*o.inputs, *o.outputs)}
    return [value for value in values if root_of(value) in touched]


def why_not_on_gpu(
    made: LaidOut,
    target: Target,
    symbols: Sequence[Symbol],
    accelerators: Collection[str] = (),
    without: Collection[str] = (),
) -> str:
    """Why all of a model runs on the processor, "" where a GPU may take a part."""
    if accelerators and "gpu" not in accelerators:
        return "--accelerator cpu"
    if symbols and is_for_app(target, accelerators):
        return "its dimensions differ from run to run"
    if made.regions:
        return "it has branches or loops"
    if not symbols or target.gpu is None or "cpu" in accelerators:
        return ""  # with both, costs decide
    return _too_little(made.program, target, without)


def _too_little(program: Program, target: Target, without: Collection[str]) -> str:
    """Why a GPU that has no kernels for most of the work of dynamic sizes gets none, else "".

    Between kernels of the processor its own would cost copies, and save little.
    """
    everything, done, reasons = 0, 0, list[str]()
    for operation in program.operations:
        work = multiply_adds(operation)
        if not work:
            continue
        everything += work
        found, refusals = find_gpu_schedule(operation, target, without)
        if found is not None:
            done += work
        else:
            reasons.append(why_refused(refusals))
    if done >= everything * _LEAST_SHARE:
        return ""
    return f"most of its products have sizes that the GPU's kernels do not take ({reasons[0]})"


def _require_gpu(on_processor: list[OnProcessor], target: Target, asked: Asked) -> None:
    if asked.require_full_target and "gpu" in (asked.accelerators or ("gpu",)):
        require_none_on_processor(on_processor)
    if is_for_app(target, asked.accelerators):
        require_none_on_processor(on_processor, f"app's GPU code of '{target.name}'")


def _placement(
    program: Program, target: Target, without: Collection[str], table: CostTable | None
) -> Placement:
    assert target.gpu is not None
    assert target.gpu.speed is not None
    speed = target.gpu.speed
    return place_by_cost(program, price_devices(program, target, speed, without, table), speed)


def _calls(selected: Sequence[Selected]) -> list[KernelCall]:
    return [call for choice in selected for call in choice.calls]
