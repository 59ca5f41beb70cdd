"""The static plan: kernel calls, tensors with their addresses, weights. What a bundle holds."""

import dataclasses
import enum
import math
from collections.abc import Mapping, Sequence

from edgecomp.buffers import Buffer


class Storage(enum.Enum):
    """Where a tensor lives."""

    ARENA = 0
    WEIGHTS = 1


@dataclasses.dataclass(frozen=True)
class Extent:
    """``floor(sum of factor * product of symbols / divisor)``: a number that symbols decide.

    Attributes:
        terms: (factor, indices of symbols) each.
        divisor: at least 1.
    """

    terms: tuple[tuple[int, tuple[int, ...]], ...]
    divisor: int = 1

    def value(self, symbols: Sequence[int]) -> int:
        """The number for values of the plan's symbols."""
        total = sum(
            factor * math.prod(symbols[index] for index in indices)
            for factor, indices in self.terms
        )
        return max(0, total) // self.divisor


@dataclasses.dataclass(frozen=True)
class PlanSymbol:
    """A number that the shapes of the inputs, or a call, decide.

    Attributes:
        name: of the dimension.
        minimum, maximum: bounds, both included.
        derived: what it is computed from, derived ones before it, but never more than the
            maximum; None where an input or a call gives it.
        is_counted: whether a call gives it.
    """

    name: str
    minimum: int
    maximum: int
    derived: Extent | None = None
    is_counted: bool = False


@dataclasses.dataclass(frozen=True)
class PlanCount:
    """A number that a call writes: the value of a symbol for all calls behind it.

    Attributes:
        symbol: index, of one that is counted.
        call: index.
        tensor: index of an int64 tensor of one element in the arena.
    """

    symbol: int
    call: int
    tensor: int


@dataclasses.dataclass(frozen=True)
class DynamicCall:
    """What differs from run to run in a call.

    Attributes:
        items: work items, or with ``strides`` how often the call's are repeated; of a GPU's
            kernel groups of work items in three dimensions, of a copy the bytes that are there.
        sizes: numbers that the kernel reads through its last pointer, int32 each; a GPU's kernel
            has them as its last arguments.
        strides: for each argument the bytes that its pointer advances with each repetition;
            empty where the call is not repeated.
    """

    items: tuple[Extent, ...]
    sizes: tuple[Extent, ...] = ()
    strides: tuple[int, ...] = ()


#: How a GPU is driven -> number of its back end (ec_device_kind).
DEVICES = {"opencl": 1, "cuda": 2}
#: How apps drive a GPU by themselves -> language of the kernels that a bundle has for it.
APP_LANGUAGES = {"metal": "metal", "webgpu": "wgsl"}
#: Elements of a texel: CL_RGBA.
TEXEL_ELEMENTS = 4
#: ``PlanCall.device`` of calls that an app makes.
APP_DEVICE = -1


@dataclasses.dataclass(frozen=True)
class PlanProgram:
    """Kernels of a device.

    Attributes:
        text: OpenCL C, which the driver compiles when the model is opened, or CUDA C.
        version: least one of the device's interface, 100 * major + 10 * minor.
        options: for the driver's compiler; of CUDA what the binary has (``sm_87 compute_87``).
        extensions: what the device must have.
        device: index of the device back end.
        binary: a CUDA fat binary; empty where the driver gets the text.
    """

    text: str
    version: int
    options: str = ""
    extensions: tuple[str, ...] = ()
    device: int = 1
    binary: bytes = b""


class LaunchKind(enum.Enum):
    """What a call for a device other than the CPU does: ec_launch_kind."""

    KERNEL = 1
    TO_DEVICE = 2
    FROM_DEVICE = 3


@dataclasses.dataclass(frozen=True)
class ImageArgument:
    """An argument that a kernel reads as image2d_t, with texels of four elements: ec_image.

    Rows follow one another from the tensor's first byte on; the last one may end behind it.

    Attributes:
        argument: index among the call's.
        width, height: texels.
    """

    argument: int
    width: int
    height: int

    @property
    def elements(self) -> int:
        """Of all rows."""
        return self.width * self.height * TEXEL_ELEMENTS


@dataclasses.dataclass(frozen=True)
class Launch:
    """How a call for a device other than the CPU is made.

    Attributes:
        kind: a kernel, or a copy of the call's one tensor between the arenas of the CPU and of
            the device.
        global_sizes: work items in three dimensions, multiples of the local sizes.
        local_sizes: of a group.
        program: index in the plan's.
        images: arguments that are images, in their order.
    """

    kind: LaunchKind
    global_sizes: tuple[int, int, int] = (0, 0, 0)
    local_sizes: tuple[int, int, int] = (0, 0, 0)
    program: int = 0
    images: tuple[ImageArgument, ...] = ()


@dataclasses.dataclass(frozen=True)
class PlanTensor:
    """A range of memory.

    Attributes:
        name: of the value.
        dtype: numpy name.
        shape: logical shape, the largest of a dynamic one.
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


class StripFlag(enum.IntFlag):
    """What a call is to its strip; ``EC_STRIP_...`` in the runtime.

    BEGINS: the first call of a group.
    SEAM: computes rows that the strip before reads too; made before the others of its strip.
    MEETS: reads rows of the next strip's seam.
    SHORT: of the first call: a thread that has the group to itself makes each call whole, as its
        parts would only cost their starts.
    """

    BEGINS = 1
    SEAM = 2
    MEETS = 4
    SHORT = 8


NO_STRIP_FLAGS = StripFlag(0)


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
        strip: 0 for a call that all threads share. Consecutive calls with strips are a group:
            one thread makes the calls of a strip, while others make those of other strips. A
            group has two strips or more, of which the last has the last call.
        strip_flags: what the call is to its strip.
        operator: what it computes, for reports ("Convolution", "Fallback(Einsum)").
        schedule: name of the schedule or "fallback".
        nodes: ONNX nodes it stands for.
        source: ``file.py:line``, or "".
        multiply_adds: of the call, 0 where it does none.
        device: index of the device back end, 0 is the CPU; ``APP_DEVICE`` in a shader plan.
        launch: how it is made there; None for the CPU.
        dynamic: what differs from run to run, None for nothing; the work items are then the
            most that there can be (of one repetition).
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
    strip: int = 0
    strip_flags: StripFlag = NO_STRIP_FLAGS
    dynamic: DynamicCall | None = None
    launch: Launch | None = None


class RegionKind(enum.Enum):
    """What a region does with its calls."""

    BRANCH = 1
    LOOP = 2
    REQUIRED = 3


@dataclasses.dataclass(frozen=True)
class PlanRegion:
    """Calls [first_call, end_call) that do not simply run once.

    A branch runs where ``condition`` equals ``expected``; a required one fails where it does not,
    since the model has nothing to run instead. A loop runs again and again: before
    each round the runtime stores the number of rounds done into ``counter``, and it ends when
    ``limit`` rounds are done or ``condition`` is false. A run that would need more than
    ``most_rounds`` rounds fails.

    Attributes:
        condition: index of a bool tensor of one element; None, in a loop only, is always true.
        expected: of a branch.
        limit: index of an int64 tensor of one element, None for none.
        counter: index of an int64 tensor of one element in the arena, None where nobody asks.
        most_rounds: as many rounds there is memory for; 0 for branches.
    """

    kind: RegionKind
    first_call: int
    end_call: int
    condition: int | None
    expected: bool = True
    limit: int | None = None
    counter: int | None = None
    most_rounds: int = 0


@dataclasses.dataclass(frozen=True)
class PlanPort:
    """An input or output of the model as the user sees it: contiguous, ONNX order.

    Attributes:
        name: ONNX name.
        tensor: index.
        dtype: numpy name.
        shape: the largest one.
        extents: the shape of a run; empty where it is always the same.
    """

    name: str
    tensor: int
    dtype: str
    shape: tuple[int, ...]
    extents: tuple[Extent, ...] = ()


@dataclasses.dataclass(frozen=True)
class ShaderCall:
    """A call of a shader plan, as an app makes it.

    Attributes:
        entry: name of the kernel in the text.
        tensors: index of the tensor behind each binding.
        is_written: for each binding, whether the kernel may write it.
    """

    entry: str
    tensors: tuple[int, ...]
    is_written: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class ShaderPlan:
    """The same model in calls of a GPU that an app drives: kernels as text and how to start them.

    Attributes:
        language: of the text, one of ``APP_LANGUAGES``.
        text: kernels.
        plan: tensors, calls and ports; weights and objects are empty, the weights are those of
            the plan that it belongs to.
        calls: one for each of the plan's.
        alignment_bytes: of every tensor in the arena.
    """

    language: str
    text: str
    plan: "Plan"
    calls: tuple[ShaderCall, ...]
    alignment_bytes: int


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
        symbols: of dynamic dimensions, derived ones behind those they are made from.
        regions: branches and loops, by their first calls, outer ones before inner ones.
        counts: by call, one for each symbol that is counted.
        programs: kernels of devices other than the CPU.
        cpu_plan: the same model in calls of the CPU alone, for machines where a device is missing
            or fails; None for none. Its weights and objects are empty: it uses those of the plan
            that it belongs to.
        shaders: the same model for an app's own GPU code; None for none.
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
    symbols: tuple[PlanSymbol, ...] = ()
    regions: list[PlanRegion] = dataclasses.field(default_factory=list)
    counts: tuple[PlanCount, ...] = ()
    programs: tuple[PlanProgram, ...] = ()
    cpu_plan: "Plan | None" = None
    shaders: ShaderPlan | None = None

    @property
    def plans(self) -> "tuple[Plan, ...]":
        """This one and its CPU plan."""
        return (self, self.cpu_plan) if self.cpu_plan else (self,)

    def shape_of(self, port: PlanPort, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape of an input or output at sizes of the symbols that are not derived."""
        if not port.extents:
            return port.shape
        values: list[int] = []
        for symbol in self.symbols:
            derived = symbol.derived
            size = derived.value(values) if derived else sizes[symbol.name]
            values.append(min(size, symbol.maximum) if derived else size)
        return tuple(extent.value(values) for extent in port.extents)

    @property
    def devices(self) -> tuple[int, ...]:
        """Back ends other than the CPU's that the calls need, by number."""
        return tuple(sorted({call.device for call in self.calls} - {0}))

    @property
    def workspace_bytes(self) -> int:
        """Scratch one thread needs: the largest of the calls."""
        return max((call.workspace_bytes for call in self.calls), default=0)
