"""A child process that answers a line with a line of JSON."""

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from edgecomp.bench.failures import program_failed
from edgecomp.errors import Code, EdgecompError

_CLOSE_TIMEOUT_S = 10


class LineProcess:
    """A child that writes one line of JSON when it is ready and one for each line it gets.

    Args:
        name: for messages.
        command: the program and its arguments.
        environment: instead of this process's.
        hint: for an error that the child tells.
        device: where it runs, for messages.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        hint: str = "",
        device: str = "local",
    ) -> None:
        self._name = name
        self._device = device
        self._hint = hint
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment,
                text=True,
            )
        except OSError as error:
            self._errors.close()
            raise EdgecompError(
                Code.DEVICE_FAILED,
                f"{name} could not be started: {error.strerror or error}",
                path=command[0],
                hint="was the bundle built for this machine?",
            ) from error

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line, return the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise self._ended()
        try:
            content = json.loads(text)
        except ValueError:
            raise EdgecompError(
                Code.DEVICE_FAILED, f"{self._name} answered {text[:200]!r}"
            ) from None
        if not isinstance(content, dict):
            raise EdgecompError(Code.DEVICE_FAILED, f"{self._name} answered {text[:200]!r}")
        if "error" in content:
            details = content.get("details", ())
            raise EdgecompError(
                Code.DEVICE_FAILED,
                "\n".join([f"{self._name}: {content['error']}", *map(str, details)]),
                hint=self._hint,
            )
        return content

    def close(self) -> None:
        """End the child: it ends with its input."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _ended(self) -> EdgecompError:
        status = self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace")
        return program_failed(self._device, [self._name], status, text)
