"""Modelled cost of a float32 product, for choices between forms of a layer."""

from edgecomp.device.target import Target
from edgecomp.schedules.cpu.arithmetic_f32 import arithmetic_f32
from edgecomp.schedules.cpu.tiles import ProductShape, least_cycles


def product_cost(rows: int, depth: int, columns: int, target: Target) -> float:
    """Modelled cycles of [rows, depth] x [depth, columns] on one core of the target."""
    arithmetic = arithmetic_f32(target)
    shape = ProductShape(
        rows=(rows,),
        vectors=-(-columns // arithmetic.lanes),
        groups=1,
        depth=depth,
        row_bytes=4 * depth,
    )
    return least_cycles(shape, arithmetic, target)
