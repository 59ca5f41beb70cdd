"""For the report: where each operation runs, and what a run costs."""

from typing import Any

from edgecomp.lower.assemble import operator_name
from edgecomp.lower.place_by_cost import PlacedOperation, Placement


def placement_facts(placement: Placement) -> dict[str, Any]:
    """``placement``: a row for each operation; ``placement_cost``: microseconds of a run."""
    sizes = ", ".join(f"{name}={size}" for name, size in placement.sizes.items())
    return {
        "placement": [_row(placed) for placed in placement.operations],
        "placement_cost": {
            **({"at the sizes": sizes} if sizes else {}),
            "microseconds of a run": _us(placement.seconds),
            "copies and waiting in it": _us(placement.copy_seconds),
            "all on the processor": _us(placement.processor_seconds),
            "on the GPU what it can compute": _us(placement.gpu_seconds),
        },
    }


def _row(placed: PlacedOperation) -> dict[str, Any]:
    prices, operation = placed.prices, placed.prices.operation
    return {
        "operator": operator_name(operation),
        "nodes": list(operation.nodes),
        "source": operation.source,
        "device": "gpu" if placed.on_gpu else "cpu",
        "cpu_us": _us(prices.processor),
        "gpu_us": None if prices.gpu is None else _us(prices.gpu),
        "measured": prices.measured,
        "why": placed.why,
    }


def _us(seconds: float) -> float:
    return round(seconds * 1e6, 2)
