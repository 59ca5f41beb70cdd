"""What kernels of convolutions and products with constants share, however they multiply."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from edgecomp.device.target import Target
from edgecomp.plan.plan import Launch
from edgecomp.plan.sizes import Dimension
from edgecomp.plan.values import Array
from edgecomp.schedules import tirx
from edgecomp.schedules.builder import Buffer, Expr, Kernel
from edgecomp.schedules.cpu.epilogue import Epilogue
from edgecomp.schedules.cpu.product import Product, RunDimension, collapse_rows
from edgecomp.schedules.gpu.builder import GridBuilder
from edgecomp.schedules.gpu.inputs import InputBuffer, InputImage, declare_input
from edgecomp.schedules.gpu.places import gpu_of
from edgecomp.schedules.gpu.weights import WeightShape
from edgecomp.schedules.schedule import Dynamic

_TENSORS = ("x", "output", "residual")


@dataclasses.dataclass(frozen=True)
class ProductTask:
    """What a kernel is to compute.

    Attributes:
        name: of the kind.
        product: addresses; the number of its rows may be dynamic where a kernel says so.
        epilogue: from sums to results.
        target: the device.
        x_dtype: in memory: a float, or 8 bits.
        weight: [output channels, K], K in the order of ``product.depth``.
        bias: [output channels].
    """

    name: str
    product: Product
    epilogue: Epilogue
    target: Target
    x_dtype: str
    weight: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class DeviceProduct:
    """A kernel with its constants.

    Attributes:
        weights: in the kernel's own order.
        bias: [bias_sets, groups, padded columns], flat.
        multiplier: float32, as the bias; None where sums are not scaled.
        dynamic: what differs from run to run.
    """

    kernel: Kernel
    launch: Launch
    weights: Array
    bias: Array
    multiplier: Array | None
    dynamic: Dynamic | None = None


class DenseKernel:
    """One kernel in the making.

    Args:
        task: what it computes.
        depth: dimensions of K in the weights; the last one is the run of neighbouring elements.
    """

    #: Set by the kernel, before its operands are declared.
    builder: GridBuilder
    padded_columns: int
    x: InputBuffer | InputImage
    #: Constants of each padded column in ``bias``, one set behind the other.
    bias_sets = 1

    def __init__(self, task: ProductTask, depth: tuple[RunDimension, ...]) -> None:
        self.task, self.product, self.epilogue = task, task.product, task.epilogue
        self.target = task.target
        self.rows, self.depth = collapse_rows(task.product.rows), depth
        self.row_count = task.product.row_count
        self.depth_elements = int(np.prod([d.size for d in depth]))
        self.multiplier: Buffer = None
        self.residual: Buffer = None
        self.group: Expr = 0
        self.column: Expr = None
        self.constant_at: Expr = None

    def declare_input(self) -> None:
        """The first parameter; that of the weights is the second."""
        product, depth = self.product, self.depth
        distances = [product.x_offset, *(row.x for row in self.rows)]
        # Vectors of K are texels where runs are whole vectors.
        distances += [outer.stride for outer in depth[:-1]] + [depth[-1].size]
        distances += [product.x_group_stride] if product.groups > 1 else []
        dtype, gpu = self.task.x_dtype, gpu_of(self.target)
        self.x = declare_input(self.builder, dtype, product.x_elements, distances, gpu)

    def declare_operands(self, sum_dtype: str) -> None:
        """The kernel's other parameters, in the order of a call's arguments.

        Args:
            sum_dtype: of the sums, which the bias has too.
        """
        product, epilogue, pointer = self.product, self.epilogue, self.builder.pointer
        constants = product.groups * self.padded_columns
        self.bias = pointer("bias", sum_dtype, self.bias_sets * constants)
        if epilogue.multiplier is not None:
            self.multiplier = pointer("multiplier", "float32", constants)
        if epilogue.residual_dtype:
            self.residual = pointer("z", epilogue.residual_dtype, product.residual_elements)
        self.y = pointer("y", epilogue.output_dtype, product.output_elements)

    @property
    def weight_shape(self) -> WeightShape:
        """Of the weights as ``depth`` walks through them."""
        run = self.depth[-1].size
        return WeightShape(
            groups=self.product.groups,
            columns=self.product.columns,
            padded_columns=self.padded_columns,
            runs=self.depth_elements // run,
            run=run,
        )

    def split_block(self, block: Expr, blocks: int) -> Expr:
        """Number of a block of columns in its group, which is kept.

        Args:
            block: number among those of all groups.
            blocks: of a group.
        """
        if self.product.groups == 1:
            return block
        self.group = self.builder.let("group", tirx.truncdiv(block, blocks))
        return self.builder.let("block", block - self.group * blocks)

    def begin_columns(self, column: Expr) -> None:
        """Keep the first column and its place among the constants."""
        builder = self.builder
        self.column = self.constant_at = builder.let("column", column)
        if self.product.groups > 1:
            at = self.group * self.padded_columns + self.column
            self.constant_at = builder.let("constant_at", at)

    def places_of(
        self,
        indices: Sequence[Expr],
        shifts: Mapping[str, Expr],
        tensors: Sequence[str] = _TENSORS,
    ) -> list[Expr]:
        """Where a row lies in tensors.

        Args:
            indices: of the row, one for each of ``rows``.
            shifts: what is added in a tensor.
            tensors: of x, output and residual.
        """
        product, places = self.product, []
        for tensor in tensors:
            at: Expr = self.distance(getattr(product, f"{tensor}_offset"), tensor)
            for dimension, index in zip(self.rows, indices, strict=True):
                at = index * self.distance(getattr(dimension, tensor), tensor) + at
            if product.groups > 1:
                step = product.x_group_stride if tensor == "x" else product.columns
                at = at + self.group * self.distance(step, tensor)
            if tensor in shifts:
                at = at + shifts[tensor]
            places.append(self.builder.let(f"{tensor}_at", at))
        return places

    def distance(self, elements: Dimension, tensor: str = "x") -> Expr:
        """A number of elements between places of a tensor: x, output or residual."""
        return self.builder.size(self.x.in_places(elements) if tensor == "x" else elements)

    def finished(self, name: str, packed: Array, *more_bias: Array) -> DeviceProduct:
        """The kernel with its constants, once all statements are there.

        Args:
            name: of the kernel.
            packed: weights as it reads them.
            more_bias: what ``bias`` has behind the task's: ``bias_sets - 1`` arrays.
        """
        multiplier = self.epilogue.multiplier
        return DeviceProduct(
            self.builder.finish(name),
            self.builder.launch,
            packed,
            np.concatenate([self._spread(bias) for bias in (self.task.bias, *more_bias)]),
            None if multiplier is None else self._spread(multiplier.astype(np.float32)),
            self.builder.dynamic,
        )

    def _spread(self, values: Array) -> Array:
        """One for each padded column, zeros behind the last of a group."""
        groups, columns = self.product.groups, self.product.columns
        rows = np.broadcast_to(values.reshape(-1), (groups * columns,)).reshape(groups, -1)
        return np.pad(rows, ((0, 0), (0, self.padded_columns - columns))).reshape(-1)
