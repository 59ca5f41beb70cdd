"""Options of what is done with a bundle on a device: where, and on which data."""

import dataclasses
import pathlib

from edgecomp.errors import nearest_hint
from edgecomp.options.image import ImageOptions
from edgecomp.options.option import Options, check_range, option, usage


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceOptions(Options):
    """Where a bundle runs."""

    device: str = option(
        "local", "local, qemu or ssh:USER@HOST[:PORT]", flags=("-d",), metavar="DEVICE"
    )
    num_threads: int = option(1, "threads that run kernels", metavar="N")

    def _check(self) -> None:
        kind, _, place = self.device.partition(":")
        if kind not in ("local", "qemu", "ssh"):
            hint = nearest_hint(kind, ("local", "qemu", "ssh:user@host"))
            raise usage("device", f"unknown device '{self.device}'", hint=hint)
        if (kind == "ssh") != bool(place):
            raise usage("device", f"'{self.device}': the form is ssh:user@host, qemu or local")
        check_range("num_threads", self.num_threads, 1, 1024)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions(DeviceOptions, ImageOptions):
    """One inference on the user's data."""

    input_file: tuple[str, ...] = option(
        (),
        "contents of an input: .npy, raw .bin or an image; NAME= may be left out when there "
        "is one input",
        flags=("-i",),
        metavar="[NAME=]FILE",
    )
    output: pathlib.Path | None = option(
        None, "write the outputs as .npy files into this folder", flags=("-o",), metavar="DIR"
    )
    labels: str | None = option(
        None,
        "print the best classes by name: a text file with one name per line, or 'imagenet'",
        metavar="FILE|imagenet",
    )
    top: int = option(5, "how many classes --labels prints", metavar="N")

    def _check(self) -> None:
        check_range("top", self.top, 1, None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyOptions(DeviceOptions):
    """Whether a bundle computes on the device what it computed when it was built."""
