"""A machine behind ssh: the runner and the weights are copied once, by their contents.

Only ``ssh`` and ``scp`` of this machine and a POSIX shell of the other are needed. BatchMode
keeps ssh from asking: keys have to be set up before.
"""

import contextlib
import pathlib
import shlex
import subprocess
from collections.abc import Iterator, Sequence

from edgecomp.bench.device import Device, Place, require_runner
from edgecomp.bench.failures import program_failed
from edgecomp.bench.files import BundleFiles
from edgecomp.bench.line_process import LineProcess
from edgecomp.bench.machine import BOARD_FILE, CPU_FILE, machine_in_words
from edgecomp.errors import Code, EdgecompError
from edgecomp.file_hash import file_sha256
from edgecomp.held import scratch_folder

#: ssh itself ends with this when it cannot connect.
_UNREACHABLE_STATUS = 255
_CONNECT_TIMEOUT_S = 10
_CACHE = '"${XDG_CACHE_HOME:-$HOME/.cache}/edgecomp/device"'
#: Its input ends with this process, however that ends, and the folder with its input.
_SCRATCH = """\
folder=$(mktemp -d) || exit
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
echo "$folder"
cat > /dev/null"""
_CLOSE_TIMEOUT_S = 10
#: Letters of its hash that name a file in that cache.
_NAME_LETTERS = 32


class Connection:
    """ssh and scp to one host, sharing one connection."""

    def __init__(self, host: str, port: str, control: pathlib.Path, timeout_s: float) -> None:
        self.host = host
        self._timeout_s = timeout_s
        self._options = [
            *("-o", "BatchMode=yes"),
            *("-o", f"ConnectTimeout={_CONNECT_TIMEOUT_S}"),
            *("-o", "ControlMaster=auto"),
            *("-o", f"ControlPath={control}/s"),
            *("-o", "ControlPersist=30"),
            *(["-o", f"Port={port}"] if port else []),
        ]

    def shell(self, script: str) -> "subprocess.CompletedProcess[str]":
        """Run a script in the other machine's shell; its status is not looked at."""
        return self._start(["ssh", *self._options, self.host, script])

    def checked_shell(self, script: str) -> str:
        """Run a script that must succeed; return what it wrote."""
        done = self.shell(script)
        if done.returncode:
            raise program_failed(f"ssh:{self.host}", ["sh"], done.returncode, done.stderr)
        return done.stdout

    def upload(self, local: pathlib.Path, remote: str) -> None:
        """Copy a file there."""
        self._copy(str(local), f"{self.host}:{remote}")

    def download(self, remote: str, local: pathlib.Path) -> None:
        """Copy a file here."""
        self._copy(f"{self.host}:{remote}", str(local))

    def _copy(self, source: str, destination: str) -> None:
        done = self._start(["scp", "-q", *self._options, source, destination])
        if done.returncode:
            raise EdgecompError(
                Code.DEVICE_FAILED,
                f"copying a file to or from {self.host} failed: {done.stderr.strip()}",
                hint="is there space left on the device?",
            )

    def serve(self, command: str, name: str) -> LineProcess:
        """Start a program there that answers lines."""
        command_line = ["ssh", *self._options, self.host, command]
        return LineProcess(name, command_line, device=f"ssh:{self.host}")

    @contextlib.contextmanager
    def scratch(self) -> Iterator[str]:
        """An empty folder there; the other machine removes it when this process is gone."""
        with subprocess.Popen(
            ["ssh", *self._options, self.host, _SCRATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as holder:
            assert holder.stdin is not None
            assert holder.stdout is not None
            assert holder.stderr is not None
            folder = holder.stdout.readline().strip()
            if not folder:
                problem = holder.stderr.read()
                raise program_failed(f"ssh:{self.host}", ["sh"], holder.wait(), problem)
            try:
                yield folder
            finally:
                with contextlib.suppress(OSError):
                    holder.stdin.close()
                try:
                    holder.wait(_CLOSE_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    holder.kill()

    def close(self) -> None:
        """End the shared connection."""
        with contextlib.suppress(EdgecompError):
            self._start(["ssh", *self._options, "-O", "exit", self.host])

    def _start(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                check=False,
                timeout=self._timeout_s,
            )
        except OSError as error:
            raise EdgecompError(
                Code.DEVICE_UNREACHABLE,
                f"{command[0]} could not be started: {error.strerror or error}",
                hint="install an ssh client (apt install openssh-client)",
            ) from error
        except subprocess.TimeoutExpired:
            raise EdgecompError(
                Code.DEVICE_FAILED,
                f"{self.host} did not answer within {self._timeout_s:.0f} s",
            ) from None
        if done.returncode == _UNREACHABLE_STATUS and "-O" not in command:
            raise EdgecompError(
                Code.DEVICE_UNREACHABLE,
                f"{self.host} cannot be reached: {done.stderr.strip()}",
                hint=f"does 'ssh -o BatchMode=yes {self.host} true' work? it needs a key",
            )
        return done


class SshPlace(Place):
    """Runner and weights in the other machine's cache, scratch in a temporary folder."""

    def __init__(self, connection: Connection, runner: str, weights: str, folder: str) -> None:
        self.runner = runner
        self.weights = weights
        self.folder = folder
        self._connection = connection

    def send(self, local: pathlib.Path, name: str) -> str:
        """Copy a file into the scratch folder."""
        path = f"{self.folder}/{name}"
        self._connection.upload(local, path)
        return path

    def fetch(self, name: str, local: pathlib.Path) -> None:
        """Copy a file of the scratch folder."""
        self._connection.download(f"{self.folder}/{name}", local)

    def execute(self, arguments: Sequence[str]) -> str:
        """Run the runner; return what it wrote."""
        done = self._connection.shell(shlex.join([self.runner, *arguments]))
        if done.returncode:
            device = f"ssh:{self._connection.host}"
            raise program_failed(device, [self.runner], done.returncode, done.stderr)
        return done.stdout

    def serve(self, arguments: Sequence[str]) -> LineProcess:
        """Start the runner there; it ends with the connection."""
        return self._connection.serve(
            shlex.join([self.runner, *arguments, "--serve"]), "edgecomp_run"
        )

    def discard(self) -> None:
        """Remove the runner and the weights."""
        with contextlib.suppress(EdgecompError):
            self._connection.shell(f"rm -f {shlex.join([self.runner, self.weights])}")


class SshDevice(Device):
    """``ssh:user@host`` or ``ssh:user@host:port``."""

    def __init__(self, address: str, timeout_s: float = 1800) -> None:
        host, separator, port = address.rpartition(":")
        if not separator:
            host, port = address, ""
        if not host or host.startswith("-") or (separator and not port.isdecimal()):
            raise EdgecompError(
                Code.USAGE,
                f"'{address}' is not a machine",
                hint="--device ssh:user@host, or ssh:user@host:port",
            )
        self.spec = f"ssh:{address}"
        self._host = host
        self._port = port
        self._timeout_s = timeout_s

    def describe(self) -> str:
        """The other machine."""
        with self._connect() as connection:
            board = connection.shell(f"cat {BOARD_FILE}").stdout
            return machine_in_words(board, connection.shell(f"cat {CPU_FILE}").stdout)

    @contextlib.contextmanager
    def place(self, bundle: BundleFiles) -> Iterator[Place]:
        """Copy what the other machine lacks, and make a scratch folder there."""
        runner = require_runner(bundle)
        with self._connect() as connection:
            cache = connection.checked_shell(f"mkdir -p {_CACHE} && cd {_CACHE} && pwd")
            cache = cache.strip()
            program = _keep(connection, cache, runner, executable=True)
            weights = _keep(connection, cache, bundle.weights_path, executable=False)
            with connection.scratch() as folder:
                yield SshPlace(connection, program, weights, folder)

    @contextlib.contextmanager
    def _connect(self) -> Iterator[Connection]:
        # A socket's path is short: the system's temporary folder, not the user's cache.
        with scratch_folder() as control:
            connection = Connection(self._host, self._port, control, self._timeout_s)
            try:
                yield connection
            finally:
                connection.close()


def _keep(connection: Connection, cache: str, local: pathlib.Path, *, executable: bool) -> str:
    """Copy a file unless the other machine has one of the same contents."""
    remote = f"{cache}/{file_sha256(local)[:_NAME_LETTERS]}"
    quoted = shlex.quote(remote)
    if connection.shell(f"test -f {quoted}").returncode:
        part = f"{remote}.part"
        connection.upload(local, part)
        mode = "chmod 755" if executable else "chmod 644"
        connection.checked_shell(
            f"{mode} {shlex.quote(part)} && mv {shlex.quote(part)} {quoted}"
        )
    return remote
