"""Depthwise convolution of 16-bit activations with 8-bit weights, NHWC, exact in int32.

The loops and tiles are those of float32: as many lanes, but products of 16 bits.
"""

import math

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.finish import Accumulate, Requantize, Scale
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.builder import Expr, constant, intrinsic, load, reinterpret
from edgecomp.schedules.cpu import depthwise, depthwise_f32
from edgecomp.schedules.cpu.arithmetic_s16 import add_pairs, fuses_pairs
from edgecomp.schedules.cpu.depthwise_f32_kernel import FloatKernel
from edgecomp.schedules.cpu.epilogue import (
    Epilogue,
    integer_epilogue,
    refuse_epilogue,
    vector_dtype,
)
from edgecomp.schedules.cpu.progress import band_progress
from edgecomp.schedules.schedule import Constant, KernelCall

NAME = "depthwise_int16_nhwc"


def match(operation: Operation, target: Target) -> str:  # noqa: ARG001
    """Claim convolutions of int16 whose groups are the input channels."""
    reason = depthwise.refusal(operation)
    if reason:
        return reason
    kind, (x, weight, _, *residual) = operation.kind, operation.inputs
    assert isinstance(kind, Convolution)
    if x.dtype != "int16" or weight.dtype != "int8":
        return f"{x.dtype} by {weight.dtype}"
    if residual or not isinstance(kind.finish, Requantize | Scale | Accumulate):
        return "a residual, or a scale known at run time"
    return refuse_epilogue(kind.finish, kind.activation, None, operation.output, None)


def emit(operation: Operation, target: Target) -> list[KernelCall]:
    """One kernel; a work item is an output row of a channel group."""
    x, weight = operation.inputs[:2]
    walk = depthwise_f32.params_for(target, operation, loops=False)
    emitter = _Kernel(operation, target, walk)
    kernel, items = emitter.build(NAME)
    arguments: list[Value | Constant] = [
        x,
        Constant(f"{weight.name}.packed", emitter.packing.data),
    ]
    if emitter.factors is not None:
        arguments.append(Constant(f"{weight.name}.multiplier", emitter.factors))
    return [
        KernelCall(
            kernel=kernel,
            arguments=(*arguments, operation.output),
            work_items=items,
            multiply_adds=operation.output.elements * math.prod(weight.shape[2:]),
            progress=band_progress(operation, items, emitter.bands, 1),
        )
    ]


class _Kernel(FloatKernel):
    """Emits one kernel."""

    x_dtype = "int16"
    sum_dtype = "int32"

    def _table(self, kind: Convolution) -> Array:
        taps, bias = depthwise.constants_of(self.operation)
        self.factors: Array | None = None
        if isinstance(kind.finish, Requantize | Scale):
            full = np.broadcast_to(kind.finish.multiplier.reshape(-1), (len(taps),))
            # Behind them a whole vector may be read.
            self.factors = np.pad(full, (0, self.target.lanes(32))).astype(np.float32)
        return np.concatenate([bias, taps], axis=1).astype(np.int32)

    def _epilogue(self, kind: Convolution) -> Epilogue:
        assert kind.finish is not None
        return integer_epilogue(kind.finish, kind.activation, None, self.output, None)

    def _loop(self) -> None:
        return None

    def _declare_more(self) -> None:
        if self.factors is not None:
            self.factor_buffer = self.builder.pointer(
                "multiplier", "float32", self.factors.size
            )

    def _factors(self, channel: Expr, lanes: int) -> Expr | None:
        return None if self.factors is None else load(self.factor_buffer, channel, lanes)

    def _widen(self, x: Expr, lanes: int) -> Expr:
        """On x86 the upper halves are 0, so that those of taps may be anything."""
        if self.target.core.isa == "x86_64":
            x = reinterpret(vector_dtype("uint16", lanes), x)
            x = x.astype(vector_dtype("uint32", lanes))
            return reinterpret(vector_dtype("int32", lanes), x)
        return x.astype(vector_dtype("int32", lanes))

    def _add(self, total: Expr, x: Expr, tap: Expr, lanes: int) -> Expr:
        if self.target.core.isa == "x86_64" and lanes >= 4:
            dtype = vector_dtype("int16", 2 * lanes)
            pairs, taps = reinterpret(dtype, x), reinterpret(dtype, tap)
            return add_pairs(total, pairs, taps, lanes, fuses=fuses_pairs(self.target))
        if lanes == 4:
            narrow = (v.astype("int16x4") for v in (x, tap))
            is_arm32 = self.target.core.isa == "armv7"
            name = "llvm.arm.neon.vmulls" if is_arm32 else "llvm.aarch64.neon.smull"
            return total + intrinsic("int32x4", f"{name}.v4i32", *narrow)
        if self.target.core.isa == "x86_64":  # of fewer lanes: signed again
            shift = constant(16, "int32", lanes)
            x = (x << shift) >> shift
        return total + x * tap
