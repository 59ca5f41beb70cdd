"""From ``--device`` to a device."""

from edgecomp.bench.device import Device
from edgecomp.bench.local import local_device
from edgecomp.bench.qemu import qemu_device
from edgecomp.bench.ssh import SshDevice
from edgecomp.device.target import Target
from edgecomp.errors import Code, EdgecompError, nearest_hint

FORMS = ("local", "qemu", "ssh:user@host[:port]")


def open_device(spec: str, target: Target | None) -> Device:
    """The device that ``--device`` names.

    Args:
        spec: ``local``, ``qemu`` or ``ssh:user@host[:port]``.
        target: of the bundle that is to run; it names the emulator. Only ``qemu`` needs it.

    Raises:
        EdgecompError: USAGE for another text, DEVICE_UNREACHABLE when it is not there.
    """
    kind, separator, rest = spec.partition(":")
    if spec == "local":
        return local_device()
    if spec == "qemu" and target is not None:
        return qemu_device(target)
    if kind == "ssh" and separator:
        return SshDevice(rest)
    raise EdgecompError(Code.USAGE, f"unknown device '{spec}'", hint=nearest_hint(spec, FORMS))
