"""The contract of a schedule, and what it hands over.

A schedule is a module with

* ``NAME``: ``<op>_<dtype>_<layout>`` (``convolution_f32_nhwc``),
* ``match(operation, target) -> str``: "" when the operation is its own, else the reason why not,
* ``emit(operation, target) -> list[KernelCall]``: kernels and packed constants, in call order.

``emit`` is pure: the same operation and target give the same calls, symbol for symbol.

A schedule whose parameters can be measured (``TunableSchedule``) also has

* ``candidates(operation, target) -> list[str]``: parameters worth measuring, as text
  (``schedules/params.py``), those that ``emit`` takes first where the schedule would claim the
  operation; none where it cannot compute it,
* ``emit_candidate(operation, target, params) -> list[KernelCall]``: as ``emit``, with these
  parameters. A text may come from a table that another version wrote: what does not fit raises
  ``ParamsError``, and what fits is correct, however slow.
"""

import dataclasses
from typing import Protocol, runtime_checkable

from edgecomp.device.target import Target
from edgecomp.plan.operations import Operation
from edgecomp.plan.plan import Launch
from edgecomp.plan.sizes import Dimension, Size
from edgecomp.plan.values import Array, Value
from edgecomp.schedules.builder import Kernel


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """A packed array that becomes part of the weights file. Compared by identity.

    Attributes:
        name: for reports; equal arrays are stored once whatever their names.
        array: C-contiguous, in the order the kernel reads it.
    """

    name: str
    array: Array


@dataclasses.dataclass(frozen=True)
class Progress:
    """How a call goes through one image from top to bottom.

    Attributes:
        items: ends of runs of work items, ascending; the last is all of them.
        begun: rows of the output that the items so far have written to, after each run.
        done: rows of the output that are complete after each run.
        first: first row of the input, its halo apart, that each run reads.
        needed: rows of the input, its halo apart, that have to be there for each run.
    """

    items: tuple[int, ...]
    begun: tuple[int, ...]
    done: tuple[int, ...]
    first: tuple[int, ...]
    needed: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Dynamic:
    """What of a call depends on sizes that are known only when the model runs.

    Attributes:
        items: ``floor(items / divisor)`` work items; with ``strides`` so many repetitions of
            the call's ``work_items``; of a copy to or from a GPU the bytes that are there.
        divisor: see ``items``.
        sizes: what the kernel reads through one more pointer, the last, as int32 each; a GPU's
            kernel has them as its last arguments.
        strides: for each argument the bytes that its pointer advances with each repetition.
        overrun_bytes: for each argument how far behind its largest contents the call reads or
            writes; empty for nowhere. Nothing else may lie there.
        groups: of a GPU's kernel, in the place of ``items``: groups of work items in three
            dimensions, ``floor(number / divisor)`` each.
    """

    items: Dimension = 1
    divisor: int = 1
    sizes: tuple[Size, ...] = ()
    strides: tuple[int, ...] = ()
    overrun_bytes: tuple[int, ...] = ()
    groups: tuple[tuple[Dimension, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class KernelCall:
    """One call of a kernel.

    Attributes:
        kernel: the function; calls with the same symbol share it.
        arguments: pointers in the order of its parameters.
        work_items: extent of the range [lo, hi) that threads share; 1 for a serial kernel.
        workspace_bytes: scratch per thread; when not 0 the kernel takes one more pointer
            after the arguments.
        multiply_adds: for reports.
        grain_items: least work items of a thread; where a range of items has a cost of its own.
        progress: of a call whose first argument is an image and whose last one its output; None
            where it does not go through them from top to bottom.
        dynamic: what differs from run to run, None for nothing. ``work_items`` are then the
            most that there can be.
        launch: how it is made on the target's GPU; None for the CPU.
    """

    kernel: Kernel
    arguments: tuple[Value | Constant, ...]
    work_items: int
    workspace_bytes: int = 0
    multiply_adds: int = 0
    grain_items: int = 1
    progress: Progress | None = None
    dynamic: Dynamic | None = None
    launch: Launch | None = None


class Schedule(Protocol):
    """What the modules in a family's list look like."""

    NAME: str

    def match(self, operation: Operation, target: Target) -> str:
        """Return "" to claim the operation, else why not."""

    def emit(self, operation: Operation, target: Target) -> list[KernelCall]:
        """Return the calls that compute a claimed operation."""


@runtime_checkable
class TunableSchedule(Schedule, Protocol):
    """A schedule whose parameters can be measured."""

    def candidates(self, operation: Operation, target: Target) -> list[str]:
        """Return parameters worth measuring, the model's own first."""

    def emit_candidate(
        self, operation: Operation, target: Target, params: str
    ) -> list[KernelCall]:
        """Return the calls with given parameters, or raise ParamsError."""
