"""The program in processes that start at once: everything is imported before they are forked.

Run as a script it is the server; ``Server`` talks to it. Each command is a real process in a
session of its own, which may be killed, and whose files may be limited.
"""

import contextlib
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]


class Process:
    """A running command.

    Attributes:
        pid: also of its session.
        errors: file that gets its stderr.
    """

    def __init__(self, server, pid, errors):
        self._server, self.pid, self.errors = server, pid, errors

    def said(self):
        return self.errors.read_text() if self.errors.exists() else ""

    def wait(self):
        """Status as ``subprocess`` has it: negative for a signal."""
        return self._server.ask({"wait": self.pid})

    def is_running(self):
        return _state(self.pid) not in ("", "Z")

    def family(self):
        """Processes of its session that still run."""
        return [
            int(entry.name)
            for entry in pathlib.Path("/proc").iterdir()
            if entry.name.isdigit() and _session(entry.name) == self.pid
        ]


class Server:
    """Starts commands; a context manager."""

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()

    def start(self, *arguments, folder, environment=None, largest_file_bytes=None):
        """Start ``edgecomp`` with arguments in a folder."""
        errors = folder / f"stderr-{time.monotonic_ns()}"
        request = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(folder),
            "errors": str(errors),
            "environment": environment or {},
            "largest_file_bytes": largest_file_bytes,
        }
        return Process(self, self.ask(request), errors)

    def ask(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _stat(pid):
    """State and session of a process, empty when it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _state(pid):
    return (_stat(pid) or [""])[0]


def _session(pid):
    parts = _stat(pid)
    return int(parts[3]) if parts and parts[0] != "Z" else 0


def serve():
    import edgecomp.api
    import edgecomp.bundle.write
    import edgecomp.calibrate.observe
    import edgecomp.cli.build
    import edgecomp.cli.quantize
    import edgecomp.cli.run
    import edgecomp.frontend.load
    import edgecomp.lower.lower
    import edgecomp.passes.pipeline
    import edgecomp.reference.interpreter  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                become(request)
        print(json.dumps(answer), flush=True)


def become(request):
    """Be the command."""
    os.setsid()
    os.chdir(request["folder"])
    os.environ.update(request["environment"])
    errors = os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number, target in ((0, nothing), (1, nothing), (2, errors)):
        os.dup2(target, number)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # shells ignore it in the background
    if request["largest_file_bytes"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = request["largest_file_bytes"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.argv = ["edgecomp", *request["arguments"]]
    from edgecomp.cli import main

    status = 99
    try:
        main()
    except SystemExit as ended:
        status = int(ended.code or 0)
    finally:
        # Without the server's own ends: they are not this process's.
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve()
