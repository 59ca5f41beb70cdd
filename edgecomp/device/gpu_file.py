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
from collections.abc import Mapping
from typing import Any

from edgecomp.device.target import Gpu, Target
from edgecomp.records import RecordError, read_record

APIS = ("opencl", "cuda")
FEATURES = ("fp16", "int8_dot", "int8_mma")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
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
        for name in (self.name, *self.aliases):
            if not _NAME.fullmatch(name):
                key = "name" if name == self.name else "aliases"
                raise RecordError(key, f"'{name}' is not lower case letters, digits and ._-")
        _check_choice("gpu.api", self.gpu.api, APIS)
        for feature in sorted(self.gpu.features):
            _check_choice("gpu.features", feature, FEATURES)
        _check_images(self.gpu)
        for field in dataclasses.fields(self.gpu):
            value = getattr(self.gpu, field.name)
            if isinstance(value, int) and value <= 0:
                raise RecordError(
                    f"gpu.{field.name}", f"expected a positive number, found {value}"
                )

    def beside(self, cpu: Target) -> Target:
        """The target with this GPU beside a processor.

        Raises:
            RecordError: where the processor's target has a GPU of its own.
        """
        if cpu.gpu is not None:
            raise RecordError("cpu", f"target '{cpu.name}' has a GPU of its own")
        return dataclasses.replace(
            cpu,
            name=self.name,
            summary=self.summary,
            aliases=self.aliases,
            gpu=self.gpu,
            cpu=self.cpu,
            sources={**cpu.sources, **self.sources},
        )


def read_gpu_file(table: Mapping[str, Any]) -> GpuFile:
    """The record of a file.

    Raises:
        RecordError: a key or a value that does not fit.
    """
    return read_record(GpuFile, table)


def _check_images(gpu: Gpu) -> None:
    if bool(gpu.images) != (gpu.api == "cuda"):
        raise RecordError("gpu.images", f"expected for CUDA and only there, api is {gpu.api}")
    for image in gpu.images:
        if not _IMAGE.fullmatch(image):
            raise RecordError("gpu.images", f"expected sm_NN or compute_NN, found '{image}'")


def _check_choice(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RecordError(key, f"unknown '{value}'", "known: " + ", ".join(choices))
