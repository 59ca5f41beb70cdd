"""What an operation costs on a target by the model; what was measured counts before it.

Costs are only ever compared with each other: which form of a layer is faster. A model says how
many cycles one core takes; the clock turns them into seconds, so that measured and modelled
figures can stand beside each other.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from edgecomp.device.target import Target
from edgecomp.plan.movement import Reinterpret
from edgecomp.plan.operations import Fallback, Operation
from edgecomp.schedules.cpu import (
    element_costs,
    packed_costs,
    product_costs,
    recurrence_costs,
    window_costs,
)
from edgecomp.schedules.cpu.family import SCHEDULES
from edgecomp.schedules.cpu.rates import rates_of

#: Times the level-2 cache by which weights have to exceed it until none of them stay (fitted).
_STREAMED_EXCESS = 2.0

#: Schedules whose weights come from memory, with their models.
_WITH_WEIGHTS: dict[str, Callable[..., float]] = {
    "winograd_f32_nhwc": product_costs.winograd_layer_cycles,
    "paired_product_f32": product_costs.paired_product_cycles,
    "convolution_nhwc": product_costs.dense_cycles,
    "matrix_multiply": product_costs.dense_cycles,
    "packed_matrix_multiply": packed_costs.packed_product_cycles,
    "scaled_matrix_multiply": packed_costs.packed_product_cycles,
}
_MODELS: dict[str, Callable[[Operation, Target], float]] = {
    "depthwise_f32_nhwc": window_costs.depthwise_f32_cycles,
    "grouped_f32_nhwc": window_costs.grouped_f32_cycles,
    "depthwise_int8_nhwc": window_costs.depthwise_int8_cycles,
    "depthwise_int16_nhwc": window_costs.depthwise_s16_cycles,
    "batch_matrix_multiply_f32": product_costs.batch_product_cycles,
    "integer_batch_multiply": product_costs.integer_batch_product_cycles,
    "recurrence_f32": recurrence_costs.recurrence_cycles,
    "pool_nhwc": window_costs.pool_cycles,
    "reduce": element_costs.reduce_cycles,
    "resize_nhwc": element_costs.resize_cycles,
    "quantized_binary": element_costs.quantized_binary_cycles,
    "elementwise": element_costs.elementwise_cycles,
    "lookup_table": element_costs.table_cycles,
    "quantize": element_costs.quantize_cycles,
    "pack_signs": element_costs.pack_signs_cycles,
    "dynamic_quantize_f32": element_costs.dynamic_quantize_cycles,
    "cumulative": element_costs.reduce_cycles,
    "softmax_f32": element_costs.softmax_cycles,
    "exponentials": element_costs.softmax_cycles,
    "layer_norm_f32": element_costs.layer_norm_cycles,
    "gather": element_costs.gather_cycles,
    "gather_parts": element_costs.gather_cycles,
    "top_k": element_costs.top_k_cycles,
    "strided_copy": element_costs.copy_cycles,
    "fill": element_costs.fill_cycles,
    "store_part": element_costs.store_part_cycles,
}


class MeasuredTime(Protocol):
    """What a table knows of an operation."""

    @property
    def time_ns(self) -> int:
        """Of one call in a model."""


class Table(Protocol):
    """Measured times of layers."""

    def fastest(
        self, operation: Operation, target: Target, without: Collection[str] = ()
    ) -> MeasuredTime | None:
        """The measured kernel that a build would take, None where there is none."""


def operation_cost(
    operation: Operation,
    target: Target,
    *,
    without: Collection[str] = (),
    streamed: float = 1.0,
) -> float:
    """Seconds of one call of an operation in its layout, on one core.

    Args:
        operation: after layout, so that its schedule is known.
        target: device.
        without: names of schedules that are not used.
        streamed: part of the weights that comes from beyond the level-2 cache: those of a model
            that fits there stay from one inference to the next (``streamed_part``).
    """
    if isinstance(operation.kind, Reinterpret):
        return 0.0
    name = _schedule_of(operation, target, without)
    return _cycles(name, operation, target, streamed) / hertz(target)


def streamed_part(weight_bytes: int, target: Target) -> float:
    """Part of a model's weights that each inference reads from beyond the level-2 cache.

    None while all fit there; all of them where they are several times as large.
    """
    excess = weight_bytes / target.core.l2_bytes - 1
    return min(1.0, max(0.0, excess / _STREAMED_EXCESS))


def hertz(target: Target) -> float:
    """Clock of the target's core; assumed where it is not known."""
    return 1e6 * (target.board.clock_mhz or rates_of(target).clock_mhz)


def _cycles(name: str, operation: Operation, target: Target, streamed: float) -> float:
    cycles = rates_of(target).call_cycles
    if name in _WITH_WEIGHTS:
        return cycles + _WITH_WEIGHTS[name](operation, target, streamed=streamed)
    if name in _MODELS:
        return cycles + _MODELS[name](operation, target)
    return cycles + element_costs.fallback_cycles(operation, target)


def _schedule_of(operation: Operation, target: Target, without: Collection[str]) -> str:
    """Name of the schedule that will compute it, "fallback" where none does."""
    if isinstance(operation.kind, Fallback):
        return "fallback"
    for schedule in SCHEDULES:
        if schedule.NAME not in without and not schedule.match(operation, target):
            return schedule.NAME
    return "fallback"
