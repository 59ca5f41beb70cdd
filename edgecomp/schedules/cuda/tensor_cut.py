"""How a product is cut for tensor cores: steps of K, tiles of sums, and weights in their order."""

import dataclasses
import math

import numpy as np

from edgecomp.device.target import Gpu
from edgecomp.plan.sizes import largest
from edgecomp.plan.values import Array
from edgecomp.schedules.cpu.product import Product, RunDimension
from edgecomp.schedules.cuda.tensor_depth import DepthOrder
from edgecomp.schedules.cuda.tensor_tile import (
    Instruction,
    WarpTile,
    choose_warp_tile,
    words_at_once,
)
from edgecomp.schedules.gpu.halves import stored_floats


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorCut:
    """A product as warps compute it.

    Attributes:
        order: of K; its words are those of x that a thread loads at once.
        groups: of columns.
        columns: of a group.
        windows: places of the window, each with a run of neighbouring elements of K.
        run: their number.
        tile: of a warp.
    """

    order: DepthOrder
    groups: int
    columns: int
    windows: int
    run: int
    tile: WarpTile

    @classmethod
    def of(
        cls,
        product: Product,
        depth: tuple[RunDimension, ...],
        instruction: Instruction,
        gpu: Gpu,
    ) -> "TensorCut":
        """The cut of a product on a device.

        Args:
            product: addresses; rows of x begin at words.
            depth: dimensions of K, collapsed.
            instruction: that multiplies.
            gpu: the device.
        """
        order = DepthOrder(instruction, words_at_once(product, instruction.word))
        run = depth[-1].size
        windows = math.prod(dimension.size for dimension in depth[:-1])
        tile = choose_warp_tile(
            instruction.fragments,
            largest(product.row_count),
            product.columns,
            product.groups,
            windows * -(-run // order.step_elements),
            gpu,
        )
        return cls(
            order=order,
            groups=product.groups,
            columns=product.columns,
            windows=windows,
            run=run,
            tile=tile,
        )

    @property
    def step_elements(self) -> int:
        """Of K, in a step."""
        return self.order.step_elements

    @property
    def run_steps(self) -> int:
        """Of a run; the last one may end before it does."""
        return -(-self.run // self.step_elements)

    @property
    def steps(self) -> int:
        """Of all of K."""
        return self.windows * self.run_steps

    @property
    def rounds(self) -> int:
        """Steps of each warp of those that share a tile."""
        return -(-self.steps // self.tile.slices)

    @property
    def all_steps(self) -> int:
        """Of all these warps: those behind the last of K multiply by zero."""
        return self.rounds * self.tile.slices

    @property
    def blocks(self) -> int:
        """Of a group's columns."""
        return -(-self.columns // self.tile.columns)

    @property
    def padded_columns(self) -> int:
        """Of a group, in whole blocks."""
        return self.blocks * self.tile.columns

    @property
    def fragment_words(self) -> int:
        """Words of weights of one fragment in a step: those of each column."""
        fragments = self.order.instruction.fragments
        return fragments.columns * fragments.sharing * 2 * self.order.parts

    @property
    def step_words(self) -> int:
        """Words of weights that a warp reads in a step."""
        return self.tile.across * self.fragment_words

    @property
    def weight_words(self) -> int:
        """Of all weights as ``pack`` makes them."""
        return self.groups * self.blocks * self.all_steps * self.step_words

    def pack(self, weight: Array) -> Array:
        """Words as threads read them.

        Args:
            weight: [output channels, K].

        Returns:
            int32 [groups, blocks, steps, fragments, columns, sharing, words], flat; where an
            instruction loads its weights itself, those of each one are a part of their own:
            [.., fragments, parts, columns, sharing, 2].
        """
        instruction, parts = self.order.instruction, self.order.parts
        fragments = instruction.fragments
        word, sharing = instruction.word, fragments.sharing
        kept = _in_words(weight, word).reshape(self.groups, -1, self.windows, self.run)
        spare = (
            self.padded_columns - kept.shape[1],
            self.run_steps * self.step_elements - self.run,
        )
        padded = np.pad(kept, ((0, 0), (0, spare[0]), (0, 0), (0, spare[1])))
        # Those that share a row have neighbouring words of a column, or the same word of both
        # halves of K.
        inner = (sharing, 2 * parts) if self.order.words > 1 else (2, sharing)
        columns = (self.tile.across, fragments.columns)
        shape = (self.groups, self.blocks, *columns, self.steps, *inner, word)
        split = padded.reshape(shape)
        if self.order.words == 1:
            split = split.swapaxes(5, 6)
        ordered = split.transpose(0, 1, 4, 2, 3, 5, 6, 7)
        if instruction.staging is not None:
            split = ordered.reshape(*ordered.shape[:-2], parts, 2, word)
            ordered = split.transpose(0, 1, 2, 3, 6, 4, 5, 7, 8)
        behind = (0, self.all_steps - self.steps)
        every = np.pad(ordered, ((0, 0), (0, 0), behind, *[(0, 0)] * (ordered.ndim - 3)))
        return np.ascontiguousarray(every).reshape(-1).view(np.int32)


def _in_words(weight: Array, word: int) -> Array:
    """Weights as the instruction reads them: floats of 32 bits have ten of mantissa."""
    if word > 1:
        return stored_floats(weight)
    bits = np.ascontiguousarray(weight, np.float32).view(np.uint32)
    # To nearest, ties away from zero: cvt.rna.tf32.f32. Weights are finite.
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)
