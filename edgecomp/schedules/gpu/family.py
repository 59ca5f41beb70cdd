"""The GPUs' schedules, the more special ones first: the first that claims an operation has it."""

import dataclasses
import functools

from edgecomp.device.gpu_file import APIS
from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.products import Convolution, MatrixMultiply
from edgecomp.plan.quantization import Dequantize, Quantize
from edgecomp.plan.reductions import Pool, Reduce
from edgecomp.schedules.cpu.convolution import product as convolution_product
from edgecomp.schedules.cpu.dynamic.largest import Twin
from edgecomp.schedules.cuda import tensor_attention, tensor_batch_product, tensor_product
from edgecomp.schedules.gpu import (
    attention,
    batch_matrix_multiply,
    convolution,
    depthwise,
    dot_product,
    elementwise,
    gather,
    layer_norm,
    matrix_multiply,
    moves,
    packed_product,
    pool,
    quantize,
    reduce,
    resize,
    shared_product,
    softmax,
    winograd,
)
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.product_kernel import is_one_run
from edgecomp.schedules.gpu.sizes import MOST_SIZES, is_image_sized, refuse_sizes
from edgecomp.schedules.schedule import KernelCall, Schedule
from edgecomp.schedules.shader.metal import metal_text
from edgecomp.schedules.shader.wgsl import wgsl_text
from edgecomp.schedules.text.language import NoTextError

#: Kinds whose integers are of 8 bits on a GPU.
_OF_BYTES = (Convolution, MatrixMultiply, Pool, Reduce, Quantize, Dequantize)
#: For one interface alone, in front of those for all.
_OWN: dict[str, tuple[Schedule, ...]] = {
    "cuda": (tensor_product, tensor_attention, tensor_batch_product)
}
#: For every interface.
_SHARED: tuple[Schedule, ...] = (
    depthwise,
    winograd,
    shared_product,
    dot_product,
    convolution,
    matrix_multiply,
    packed_product,
    attention,
    batch_matrix_multiply,
    pool,
    reduce,
    resize,
    elementwise,
    quantize,
    softmax,
    layer_norm,
    gather,
    moves,
)
#: Those whose kernels and constants are made for one size. The others ask their builder for sizes.
_OF_FIXED_SIZES: tuple[Schedule, ...] = (winograd,)
#: Those that take images of dynamic height and width where all pixels are the rows of a product.
_OF_ONE_RUN: tuple[Schedule, ...] = (tensor_product, shared_product)


@dataclasses.dataclass
class _Named:
    """A schedule under the name that reports give it for one kind of device."""

    NAME: str
    schedule: Schedule

    def match(self, operation: Operation, target: Target) -> str:
        """As the schedule's, but for arithmetic of 16-bit integers."""
        reason = self.schedule.match(operation, target)
        values = (*operation.inputs[:1], *operation.outputs)
        is_wide = any(value.dtype == "int16" for value in values)
        if not reason and is_wide and isinstance(operation.kind, _OF_BYTES):
            return "16-bit integers are computed by the processor"
        return reason

    def emit(self, operation: Operation, target: Target) -> list[KernelCall]:
        """As the schedule's."""
        return self.schedule.emit(operation, target)


class _Written(_Named):
    """A schedule whose kernels are source text in a bundle: it claims what has a text."""

    def match(self, operation: Operation, target: Target) -> str:
        """As the others', then whether the language has words for its kernels."""
        reason = super().match(operation, target)
        if reason:
            return reason
        try:
            for call in self.schedule.emit(operation, target):
                _TEXTS[gpu_of(target).api](call.kernel)
        except NoTextError as error:
            return f"the language of its kernels has no {error}"
        return ""


@dataclasses.dataclass
class _Sized(_Named):
    """A schedule of operations whose sizes are known when they run.

    Attributes:
        made: calls of the operation that was asked for last, until they are taken: how many sizes
            kernels read shows when they are there.
    """

    made: tuple[Operation, tuple[str, ...], Target, list[KernelCall]] | None = None

    def match(self, operation: Operation, target: Target) -> str:
        """As the schedule's at the largest sizes, then whether its kernels take the sizes."""
        reason = super().match(Twin(operation).operation, target)
        if not reason and self.schedule in _OF_FIXED_SIZES:
            return "kernels of fixed sizes"
        if not reason and self.schedule in _OF_ONE_RUN and not _pixels_are_rows(operation):
            return "images of dynamic height or width"
        reason = reason or refuse_sizes(operation)
        if reason:
            return reason
        calls = super().emit(operation, target)
        if any(call.dynamic and len(call.dynamic.sizes) > MOST_SIZES for call in calls):
            return "more sizes than a kernel takes"
        self.made = operation, _stored(operation), target, calls
        return ""

    def emit(self, operation: Operation, target: Target) -> list[KernelCall]:
        """As the schedule's; what the match before has made."""
        made, self.made = self.made, None
        if made is not None and made[:3] == (operation, _stored(operation), target):
            return made[3]
        return super().emit(operation, target)


def _stored(operation: Operation) -> tuple[str, ...]:
    """The types that its values have in memory now."""
    return tuple(value.stored for value in (*operation.inputs, *operation.outputs))


def _pixels_are_rows(operation: Operation) -> bool:
    """Whether a convolution of images of any height and width is a product of their pixels."""
    if not isinstance(operation.kind, Convolution) or not is_image_sized(operation):
        return True
    product = convolution_product(operation)
    return is_one_run(product) and product.has_fixed_steps


_TEXTS = {"metal": metal_text, "webgpu": wgsl_text}


@functools.cache
def gpu_schedules(api: str) -> tuple[Schedule, ...]:
    """Those for GPUs that are driven through an interface (``Gpu.api``)."""
    named = _Written if api in _TEXTS else _Named
    return tuple(named(f"{api}_{schedule.NAME}", schedule) for schedule in _schedules_of(api))


@functools.cache
def sized_schedules(api: str) -> tuple[Schedule, ...]:
    """Those for operations of dynamic sizes; apps start kernels of fixed ones alone."""
    if api in _TEXTS:
        return ()
    return tuple(_Sized(f"{api}_{s.NAME}", s) for s in _schedules_of(api))


def _schedules_of(api: str) -> tuple[Schedule, ...]:
    return (*_OWN.get(api, ()), *_SHARED)


def gpu_names(name: str) -> tuple[str, ...]:
    """Of a schedule, for every interface."""
    return tuple(f"{api}_{name}" for api in APIS)
