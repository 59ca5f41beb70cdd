"""The static plan: kernel calls, tensors with their addresses, weights. What a bundle holds."""

import dataclasses
import enum

from edgecomp.buffers import Buffer


class Storage(enum.Enum):
    """Where a tensor lives."""

    ARENA = 0
    WEIGHTS = 1


@dataclasses.dataclass(frozen=True)
class PlanTensor:
    """A range of memory.

    Attributes:
        name: of the value.
        dtype: numpy name.
        shape: logical shape.
        storage: arena or weights.
        offset_bytes: from the start of the storage, a multiple of 64.
        bytes: contents, halo included, slack excluded.
        first_call, last_call: calls between which the memory must keep its contents; -1 is
            "before the first" and ``len(calls)`` "after the last" (arena only).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    storage: Storage
    offset_bytes: int
    bytes: int
    first_call: int = 0
    last_call: int = 0


@dataclasses.dataclass(frozen=True)
class PlanCall:
    """One kernel call: ``kernel(pointers..., lo, hi)``.

    Attributes:
        kernel: C symbol.
        arguments: tensor indices, one pointer each.
        workspace_bytes: scratch of each thread, passed as one more pointer after the
            arguments when not 0.
        work_items: the pool slices [0, work_items) over threads; 1 runs on the caller alone.
        first_item: added to the items: the kernel gets [first_item, first_item + work_items).
        grain_items: least work items that are worth another thread.
        operator: what it computes, for reports ("Convolution", "Fallback(Einsum)").
        schedule: name of the schedule or "fallback".
        nodes: ONNX nodes it stands for.
        source: ``file.py:line``, or "".
        multiply_adds: of the call, 0 where it does none.
        device: index of the device back end, 0 is the CPU.
    """

    kernel: str
    arguments: tuple[int, ...]
    work_items: int
    operator: str
    schedule: str
    nodes: tuple[str, ...] = ()
    source: str = ""
    multiply_adds: int = 0
    workspace_bytes: int = 0
    device: int = 0
    first_item: int = 0
    grain_items: int = 1


@dataclasses.dataclass(frozen=True)
class PlanPort:
    """An input or output of the model as the user sees it: contiguous, ONNX order."""

    name: str
    tensor: int
    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass
class Plan:
    """Everything that the bundle writes.

    Attributes:
        name: C identifier of the model.
        target: name of the target.
        tensors, calls, inputs, outputs: see their classes.
        arena_bytes: memory for all arena tensors, slack included.
        arena_bound_bytes: largest sum of tensors alive at one call: no plan can be smaller.
        weights: contents of the weights file, 64-byte aligned tensors.
        objects: name -> relocatable object with the kernels.
    """

    name: str
    target: str
    tensors: list[PlanTensor]
    calls: list[PlanCall]
    inputs: list[PlanPort]
    outputs: list[PlanPort]
    arena_bytes: int
    arena_bound_bytes: int
    weights: Buffer
    objects: dict[str, bytes]

    @property
    def workspace_bytes(self) -> int:
        """Scratch one thread needs: the largest of the calls."""
        return max((call.workspace_bytes for call in self.calls), default=0)
