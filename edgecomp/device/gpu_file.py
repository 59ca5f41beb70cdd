"""The file of a target with a GPU: the GPU's facts, and the name of the target that is its CPU.

schema = 1
name = "generic-opencl"
summary = "..."
cpu = "host"         # target whose core, board and toolchain it has
[gpu]                # fields of device.target.Gpu
[sources]
"""

import dataclasses
import re

from edgecomp.device.checks import check_choice, check_names, check_positive
from edgecomp.device.target import Gpu, Target
from edgecomp.records import RecordError

APIS = ("opencl", "cuda", "metal", "webgpu")
FEATURES = (
    "fp16",
    "int8_dot",
    "int8_mma",
    "int8_wmma",
    "fp16_mma",
    "fp16_quad_mma",
    "bf16_mma",
    "tf32_mma",
)
_IMAGE = re.compile(r"(sm|compute)_[1-9][0-9]{1,2}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GpuFile:
    """Keys of the file."""

    schema: int
    name: str
    summary: str
    aliases: tuple[str, ...] = ()
    cpu: str
    gpu: Gpu
    sources: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_names(self.name, self.aliases)
        check_choice("gpu.api", self.gpu.api, APIS)
        for feature in sorted(self.gpu.features):
            check_choice("gpu.features", feature, FEATURES)
        _check_images(self.gpu)
        if self.gpu.textures is not None and self.gpu.api != "opencl":
            raise RecordError(
                "gpu.textures", f"expected for OpenCL only, api is {self.gpu.api}"
            )
        check_positive(self.gpu, "gpu")
        if self.gpu.group_items > self.gpu.most_group_items:
            most = f"more than gpu.most_group_items = {self.gpu.most_group_items}"
            raise RecordError("gpu.group_items", most)

    def beside(self, cpu: Target) -> Target:
        """The target with this GPU beside a processor."""
        return dataclasses.replace(
            cpu,
            name=self.name,
            summary=self.summary,
            aliases=self.aliases,
            gpu=self.gpu,
            cpu=self.cpu,
            sources={**cpu.sources, **self.sources},
        )


def _check_images(gpu: Gpu) -> None:
    if bool(gpu.images) != (gpu.api == "cuda"):
        raise RecordError("gpu.images", f"expected for CUDA and only there, api is {gpu.api}")
    for image in gpu.images:
        if not _IMAGE.fullmatch(image):
            raise RecordError("gpu.images", f"expected sm_NN or compute_NN, found '{image}'")
