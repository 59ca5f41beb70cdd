"""The facts about a device that selection and code generation read."""

import dataclasses
import math
from typing import Any

#: Four of float32.
_LARGEST_TEXEL_BYTES = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Core:
    """The processor core.

    Attributes:
        isa: ``x86_64``, ``aarch64`` or ``armv7``.
        features: instruction sets the kernels may use: ``avx2 fma avx512 avx512vbmi
            avx512vnni avx512vpopcntdq avxvnni`` (``avx512`` means F+BW+DQ+VL), ``neon vfp4
            dotprod i8mm fp16``.
        vector_bits: width of one vector register.
        vector_registers: how many there are.
        unit_bits: width of the units that work vectors off, where an operation on a whole
            register takes more than one turn; None is ``vector_bits``.
        adders_apart: whether additions of floats run on other units than multiply-adds, beside
            them.
        in_order: whether the core issues in order (loads must be scheduled by the compiler).
        l1_data_bytes, l2_bytes: caches that one core has to itself; of a shared one its part.
        name: of the core, for people.
    """

    isa: str
    features: frozenset[str]
    vector_bits: int
    vector_registers: int
    unit_bits: int | None = None
    adders_apart: bool = False
    in_order: bool = False
    l1_data_bytes: int
    l2_bytes: int
    name: str = ""

    @property
    def turns(self) -> int:
        """Turns of the units that an operation on a whole register takes."""
        return max(1, self.vector_bits // self.unit_bits) if self.unit_bits else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """What is around the cores. None and "" are unknown.

    Attributes:
        soc: name of the chip.
        cores: how many the system has.
        clock_mhz: highest clock of a core.
        memory_bytes: main memory.
        l2_shared_bytes, l3_shared_bytes: caches that several cores share.
    """

    soc: str = ""
    cores: int | None = None
    clock_mhz: int | None = None
    memory_bytes: int | None = None
    l2_shared_bytes: int | None = None
    l3_shared_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toolchain:
    """How C is compiled and linked for the target.

    Attributes:
        triple: LLVM triple (``aarch64-linux-gnu``); empty is the host's own.
        compilers: commands to try in order (``aarch64-linux-gnu-gcc``).
        zig_target: ``-target`` of ``python -m ziglang cc``, or "".
        flags: for compile and link.
        install: how to get the first compiler, for the hint where none is found.
    """

    triple: str
    compilers: tuple[str, ...]
    zig_target: str = ""
    flags: tuple[str, ...] = ()
    install: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Emulator:
    """How the host can run the target's programs, when it is not one itself.

    Attributes:
        command: program (``qemu-aarch64``).
        arguments: before the program (``-cpu cortex-a72``).
        sysroot: folder with the target's shared libraries (``/usr/aarch64-linux-gnu``).
        install: how to get it.
    """

    command: str
    arguments: tuple[str, ...] = ()
    sysroot: str = ""
    install: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuSpeed:
    """What good kernels reach on a GPU, by which its work is compared with the processor's.

    Attributes:
        float_gigaflops: additions and multiplications of float32, in 10^9 a second.
        int8_gigaops: the same of 8-bit products.
        gigabytes_per_second: of its memory.
        launch_us: microseconds of a call that does next to nothing.
        wait_us: until the processor goes on behind the GPU's last call.
        copy_us: of a copy of a few bytes between the memories, without the wait.
        copy_gigabytes_per_second: of a large one.
    """

    float_gigaflops: float
    int8_gigaops: float
    gigabytes_per_second: float
    launch_us: float
    wait_us: float
    copy_us: float
    copy_gigabytes_per_second: float

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not 0 < value < math.inf:
                raise ValueError(f"{field.name}: expected a positive number, found {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuTextures:
    """Images that a GPU reads faster than buffers, in texels of four elements.

    Attributes:
        width, height: at most (``CL_DEVICE_IMAGE2D_MAX_WIDTH``, ``_HEIGHT``).
        row_texels: rows of images over buffers are multiples of it, a power of two
            (``CL_DEVICE_IMAGE_PITCH_ALIGNMENT``); without it activations stay in buffers.
        base_texels: such images begin at multiples of it, a power of two
            (``CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT``).
    """

    width: int
    height: int
    row_texels: int | None = None
    base_texels: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and value <= 0:
                raise ValueError(f"{field.name}: expected a positive number, found {value}")
        for name in ("row_texels", "base_texels"):
            value = getattr(self, name)
            if value is not None and value & (value - 1):
                raise ValueError(f"{name}: expected a power of two, found {value}")

    def hold(self, width: int, height: int) -> bool:
        """Whether there are images so large."""
        return width <= self.width and height <= self.height


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu:
    """A graphics processor beside the processor.

    Attributes:
        api: how it is driven: ``opencl`` or ``cuda`` by the bundle's own library, ``metal`` or
            ``webgpu`` by an app, which gets the kernels as source text.
        version: least one of the driver's interface, 100 * major + 10 * minor.
        images: CUDA: what kernels are compiled to, ``sm_87`` for code of devices with compute
            capability 8.7, ``compute_87`` for PTX that drivers of later ones compile.
        features: what kernels may use: ``fp16 int8_dot``, and ``int8_mma``: the tensor
            cores of compute capability 8.0 and later; ``int8_wmma``: those of 7.2; ``fp16_mma bf16_mma tf32_mma``: theirs
            for floats (float16 from 7.5 on); ``fp16_quad_mma``: those of 7.0 and 7.2.
        group_items: work items of a group that suit it.
        most_group_items: that a group may have.
        vector_bits: that one work item loads or stores at once.
        registers: of 32 bits, that a work item has while enough others run beside it.
        busy_items: work items that keep the device busy while some of them wait for memory.
        local_memory_bytes: that a group shares.
        fast_local_memory: whether that is memory of its own, not a part of the device's.
        alignment_bytes: of parts of a buffer.
        speed: for ``--accelerator cpu,gpu``; None where nobody knows.
        textures: OpenCL: what kernels read as images; None where buffers are as fast.
        name: for people.
    """

    api: str
    version: int
    images: tuple[str, ...] = ()
    features: frozenset[str] = frozenset()
    group_items: int
    most_group_items: int
    vector_bits: int
    registers: int
    local_memory_bytes: int
    alignment_bytes: int
    fast_local_memory: bool = False
    #: 16 to 18 cores of 16 lanes, four threads each: GPUs of phones.
    busy_items: int = 1024
    speed: GpuSpeed | None = None
    textures: GpuTextures | None = None
    name: str = ""

    @property
    def tensor_alignment_bytes(self) -> int:
        """Of tensors in the arena, which are parts of a buffer and may be images."""
        if self.textures is None or self.textures.row_texels is None:
            return self.alignment_bytes
        return max(self.alignment_bytes, self.textures.base_texels * _LARGEST_TEXEL_BYTES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Target:
    """One device.

    Attributes:
        name: as given to ``--target``.
        summary: one line for ``edgecomp targets``.
        aliases: other names for ``--target``.
        tvm: target dictionary for ``tvm.target.Target``; without a host, so that functions
            keep their plain C signature.
        activation_dtype: how 8-bit activations are stored: ``uint8`` where the dot product
            takes unsigned by signed, ``int8`` where it takes signed by signed. The numbers
            are the same: int8 storage is the uint8 value minus 128.
        gpu: that calls run on where there are kernels for it; None for none.
        cpu: with a GPU, the name of the target whose core, board and toolchain these are.
        threads: to use when the user does not say.
        floats: what a GPU's kernels store in the place of float32 between them, as the build
            chooses, not the file: float32, float16 or bfloat16.
        tf32: whether products of float32 may be of tf32's 10 bits of mantissa; the build's too.
        sources: dotted key -> where the figure comes from.
    """

    name: str
    summary: str
    aliases: tuple[str, ...] = ()
    tvm: dict[str, Any]
    activation_dtype: str
    core: Core
    toolchain: Toolchain
    emulator: Emulator | None = None
    board: Board = dataclasses.field(default_factory=Board)
    gpu: Gpu | None = None
    cpu: str = ""
    threads: int = 1
    floats: str = "float32"
    tf32: bool = False
    sources: dict[str, str] = dataclasses.field(default_factory=dict)

    def has(self, feature: str) -> bool:
        """Whether kernels may use an instruction set."""
        return feature in self.core.features

    def lanes(self, bits: int) -> int:
        """Elements of ``bits`` bits in one vector register."""
        return self.core.vector_bits // bits
