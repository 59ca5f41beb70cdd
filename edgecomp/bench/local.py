"""This machine, and its emulators: the runner as a child process."""

import contextlib
import pathlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from edgecomp.bench.device import Device, Place, require_runner
from edgecomp.bench.failures import program_failed
from edgecomp.bench.files import BundleFiles
from edgecomp.bench.line_process import LineProcess
from edgecomp.bench.machine import BOARD_FILE, CPU_FILE, machine_in_words
from edgecomp.errors import Code, EdgecompError
from edgecomp.held import scratch_folder


class ProcessPlace(Place):
    """Files stay where they are; the runner starts behind ``prefix``."""

    def __init__(
        self,
        device: str,
        prefix: Sequence[str],
        runner: pathlib.Path,
        weights: pathlib.Path,
        folder: pathlib.Path,
        timeout_s: float,
    ) -> None:
        self.runner = str(runner)
        self.weights = str(weights)
        self.folder = str(folder)
        self._device = device
        self._prefix = tuple(prefix)
        self._timeout_s = timeout_s

    def send(self, local: pathlib.Path, name: str) -> str:
        """Copy a file into the scratch folder."""
        path = pathlib.Path(self.folder) / name
        shutil.copyfile(local, path)
        return str(path)

    def fetch(self, name: str, local: pathlib.Path) -> None:
        """Copy a file of the scratch folder."""
        shutil.copyfile(pathlib.Path(self.folder) / name, local)

    def execute(self, arguments: Sequence[str]) -> str:
        """Run the runner; return what it wrote."""
        command = [*self._prefix, self.runner, *arguments]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=self._timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise EdgecompError(
                Code.DEVICE_FAILED,
                f"the runner did not end within {self._timeout_s:.0f} s on {self._device}",
                hint="fewer runs: --num-runs",
            ) from None
        except OSError as error:
            hint = "was the bundle built for this machine? --device qemu runs others"
            if isinstance(error, PermissionError):
                hint = f"chmod +x {command[0]}, on a file system that allows programs"
            raise EdgecompError(
                Code.DEVICE_FAILED,
                f"{command[0]} could not be started: {error.strerror or error}",
                path=command[0],
                hint=hint,
            ) from error
        if done.returncode:
            raise program_failed(self._device, [self.runner], done.returncode, done.stderr)
        return done.stdout

    def serve(self, arguments: Sequence[str]) -> LineProcess:
        """Start the runner as a child that takes commands."""
        command = [*self._prefix, self.runner, *arguments, "--serve"]
        return LineProcess("edgecomp_run", command)

    def discard(self) -> None:
        """Nothing was copied."""


class ProcessDevice(Device):
    """Starts the runner here, behind a prefix that is empty or an emulator's command."""

    def __init__(self, spec: str, prefix: Sequence[str] = (), timeout_s: float = 1800) -> None:
        self.spec = spec
        self.prefix = tuple(prefix)
        self.emulated = bool(prefix)
        self._timeout_s = timeout_s

    def describe(self) -> str:
        """This machine."""
        board, cpuinfo = (
            path.read_text(errors="replace") if path.is_file() else ""
            for path in (pathlib.Path(BOARD_FILE), pathlib.Path(CPU_FILE))
        )
        return machine_in_words(board, cpuinfo)

    @contextlib.contextmanager
    def place(self, bundle: BundleFiles) -> Iterator[Place]:
        """Use the bundle where it is, with a scratch folder."""
        runner = require_runner(bundle)
        with scratch_folder() as folder:
            yield ProcessPlace(
                self.spec,
                self.prefix,
                runner,
                bundle.weights_path,
                folder,
                self._timeout_s,
            )


def local_device() -> ProcessDevice:
    """This machine."""
    return ProcessDevice("local")
