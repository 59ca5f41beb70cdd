"""Scales and zero points that are computed while the model runs, in a product's epilogue."""

import dataclasses

from edgecomp.plan.finish import RuntimeScale
from edgecomp.schedules.builder import Buffer, Expr, KernelBuilder, constant, load, splat
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.vectors import pinned


@dataclasses.dataclass(frozen=True)
class RuntimePointers:
    """Buffers beside the multipliers.

    Attributes:
        sums: int32, of each column's weights.
        offset: float32, of each column.
        zero: 8 bits, the activation's zero point.
        scale: float32, the activation's scale.
    """

    sums: Buffer
    offset: Buffer
    zero: Buffer
    scale: Buffer

    @staticmethod
    def declare(
        builder: KernelBuilder, columns: int, runtime: RuntimeScale
    ) -> "RuntimePointers":
        """Add the parameters, in the order of ``GemmKernel``."""
        return RuntimePointers(
            builder.pointer("sums", "int32", columns),
            builder.pointer("offset", "float32", columns),
            builder.pointer("zero", runtime.zero_dtype, 1),
            builder.pointer("scale", "float32", 1),
        )


def runtime_scale(
    builder: KernelBuilder,
    epilogue: Epilogue,
    pointers: RuntimePointers,
    index: Expr,
    multiplier: Expr,
    lanes: int,
) -> tuple[Expr, Expr]:
    """What one vector of columns loses for the zero point, and its whole multiplier.

    The multiplier is rounded as a float32 product of its own, as the model's Mul has it.
    """
    assert epilogue.runtime is not None
    zero = load(pointers.zero, 0).astype("int32")
    zero = zero + constant(epilogue.runtime.zero_shift, "int32")
    shift = splat(zero, lanes) * load(pointers.sums, index, lanes)
    scale = splat(load(pointers.scale, 0), lanes) * multiplier
    return pinned(builder, "shift", shift), pinned(builder, "scales", scale)
