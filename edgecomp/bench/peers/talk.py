"""The line protocol of a peer's process: one line of JSON out for each line in."""

import json
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from typing import Any

#: The last lines of an exception's text say what went wrong; its first, where it began.
_ERROR_LINES = 12


class Channel:
    """The process's standard output, out of reach of runtimes that print."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def say(self, content: dict[str, Any]) -> None:
        """Write one line."""
        self._file.write(json.dumps(content) + "\n")
        self._file.flush()


def speak(main: Callable[[Channel, pathlib.Path], None]) -> None:
    """Run ``main`` on the folder that the command line names; tell the parent what fails."""
    channel = Channel()
    try:
        main(channel, pathlib.Path(sys.argv[1]))
    except Exception as error:  # a runtime's exceptions share no base class
        lines = traceback.format_exc().strip().splitlines()[-_ERROR_LINES:]
        channel.say({"error": f"{type(error).__name__}: {error}", "details": lines})
        sys.exit(1)
