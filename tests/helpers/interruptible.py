"""Processes that an interrupt reaches wherever the tests run."""

import signal
import subprocess


def popen(command, **settings):
    """``subprocess.Popen`` whose child does not ignore SIGINT.

    A shell that starts the tests in the background makes them, and their children, ignore it.
    """
    return subprocess.Popen(
        command,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **settings,
    )
