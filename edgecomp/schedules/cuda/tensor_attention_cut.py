"""How attention is cut for tensor cores: rows of a warp, and warps that share the keys."""

import dataclasses
import itertools
import math

from edgecomp.device.target import Gpu, Target
from edgecomp.plan.attention import Attention, IntegerAttention
from edgecomp.plan.operations import Operation
from edgecomp.plan.sizes import largest
from edgecomp.schedules.cuda.tensor_operand import MOST_LINES
from edgecomp.schedules.cuda.tensor_tile import WARP, Instruction, instruction_for
from edgecomp.schedules.cuda.tensor_warp import STAGED_WORDS
from edgecomp.schedules.gpu.places import gpu_of

#: Sums, words of q and scores of a thread: the rest of its registers are what is being loaded.
_MOST_REGISTERS = 160
#: Beyond, a second fragment of rows leaves too few threads room on a multiprocessor.
_MOST_OF_TWO = 112
_SLICES = (1, 2, 4, 8)
_KEYS_AT_ONCE = (32, 16)
_FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True)
class AttentionCut:
    """What a block has.

    Attributes:
        down: fragments of rows.
        slices: warps, which share the keys.
        keys: of a warp at once.
    """

    down: int
    slices: int
    keys: int

    @staticmethod
    def of(
        batch: int,
        rows: int,
        keys: int,
        widths: tuple[int, int],
        gpu: Gpu,
        instruction: Instruction,
    ) -> "AttentionCut | None":
        """The largest with which enough warps run; None where registers hold none.

        Args:
            batch: of the attention, at most.
            rows: of q.
            keys: rows of k.
            widths: columns of q and of v.
            gpu: the device.
            instruction: of both products.
        """
        found = None
        height = instruction.fragments.rows
        shares = [n for n in _KEYS_AT_ONCE if n % instruction.depth == 0]
        for down, slices in itertools.product((2, 1), _SLICES):
            # Half of a warp's keys at least are there, but for the smallest share.
            at_once = [n for n in shares if keys > slices * n // 2]
            if slices == 1:
                at_once += shares[-1:]
            if not at_once or (down > 1 and rows <= height):
                continue
            # Wide heads have fewer keys at once; two fragments of rows pay with many alone.
            cuts = [AttentionCut(down, slices, n) for n in at_once[: 1 if down > 1 else None]]
            cut = next((cut for cut in cuts if cut._fits(widths, gpu, instruction)), None)
            if cut is None:
                continue
            found = cut
            tiles = batch * -(-rows // (down * height))
            if tiles * slices * WARP >= gpu.busy_items:
                break
        return found

    def _fits(self, widths: tuple[int, int], gpu: Gpu, instruction: Instruction) -> bool:
        """Whether registers hold what a thread has, and shared memory what warps join."""
        depth, columns = widths
        each, width = instruction.fragments.sums, instruction.fragments.columns
        of_q = -(-depth // instruction.depth) * instruction.fragments.x_words
        of_y = -(-columns // (width * MOST_LINES)) * MOST_LINES * each
        of_keys = self.keys // width * each
        registers = self.down * (of_q + of_y + of_keys)
        most = _MOST_OF_TWO if self.down > 1 else _MOST_REGISTERS
        joined = (self.slices - 1) * self.down * (of_y + 2 * each)
        floats = (joined + 2 * self.down * self.slices) * WARP
        floats += self.slices * STAGED_WORDS if instruction.staging is not None else 0
        return registers <= most and floats * _FLOAT_BYTES <= gpu.local_memory_bytes


def cut_of(operation: Operation, target: Target) -> AttentionCut | None:
    """The cut of an attention on a device, None where registers do not hold it."""
    kind = operation.kind
    assert isinstance(kind, Attention | IntegerAttention)
    instruction = instruction_for(operation.inputs[0].stored, gpu_of(target))
    assert instruction is not None
    *batch, rows, depth = kind.q.shape
    keys, columns = kind.v.shape[-2:]
    images = math.prod(batch)
    return AttentionCut.of(
        largest(images),
        largest(rows),
        largest(keys),
        (depth, columns),
        gpu_of(target),
        instruction,
    )
