"""Every error a user can meet: a stable code, its exit status and the text that explains it.

An error names what went wrong, where (node and source line, or file) and one thing to try.
"""

import dataclasses
import difflib
import enum
from collections.abc import Iterable


class ExitCode(enum.IntEnum):
    """Status of the ``edgecomp`` process. Append only."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    UNSUPPORTED = 3
    ACCURACY = 4
    LATENCY = 5
    POLICY = 6
    MISMATCH = 7
    DEVICE = 8
    TOOLCHAIN = 9
    VERSION = 10
    CALIBRATION = 11
    INCONCLUSIVE = 12
    INTERRUPTED = 130


class Code(enum.Enum):
    """Stable error codes: value and the exit status each ends the process with. Append only."""

    INTERNAL = ("EC0001", ExitCode.INTERNAL)
    INTERRUPTED = ("EC0002", ExitCode.INTERRUPTED)
    OUT_OF_MEMORY = ("EC0003", ExitCode.INTERNAL)

    USAGE = ("EC0100", ExitCode.USAGE)
    FILE_MISSING = ("EC0101", ExitCode.USAGE)
    MODEL_UNREADABLE = ("EC0102", ExitCode.USAGE)
    MODEL_INVALID = ("EC0103", ExitCode.USAGE)
    EXTERNAL_DATA = ("EC0104", ExitCode.USAGE)
    TARGET_UNKNOWN = ("EC0105", ExitCode.USAGE)
    TARGET_INVALID = ("EC0106", ExitCode.USAGE)
    DIMENSION_FREE = ("EC0107", ExitCode.USAGE)
    OUTPUT_EXISTS = ("EC0108", ExitCode.USAGE)
    OUTPUT_UNWRITABLE = ("EC0109", ExitCode.USAGE)
    INPUT_MISMATCH = ("EC0110", ExitCode.USAGE)
    ENTRY_INVALID = ("EC0111", ExitCode.USAGE)
    PACKAGE_MISSING = ("EC0112", ExitCode.USAGE)
    SHAPE_CONFLICT = ("EC0113", ExitCode.USAGE)
    RECIPE_INVALID = ("EC0114", ExitCode.USAGE)
    COST_TABLE_INVALID = ("EC0115", ExitCode.USAGE)
    METRIC_INVALID = ("EC0116", ExitCode.USAGE)

    OPERATOR_UNSUPPORTED = ("EC0300", ExitCode.UNSUPPORTED)
    OPSET_UNSUPPORTED = ("EC0301", ExitCode.UNSUPPORTED)
    FALLBACK_REFUSED = ("EC0302", ExitCode.UNSUPPORTED)
    TENSOR_TOO_LARGE = ("EC0303", ExitCode.UNSUPPORTED)

    ACCURACY_GATE = ("EC0400", ExitCode.ACCURACY)
    LATENCY_GATE = ("EC0500", ExitCode.LATENCY)
    POLICY_GATE = ("EC0600", ExitCode.POLICY)
    NUMERIC_MISMATCH = ("EC0700", ExitCode.MISMATCH)
    TRACE_MISMATCH = ("EC0701", ExitCode.MISMATCH)
    PASS_MISMATCH = ("EC0702", ExitCode.MISMATCH)
    DEVICE_UNREACHABLE = ("EC0800", ExitCode.DEVICE)
    DEVICE_FAILED = ("EC0801", ExitCode.DEVICE)
    TOOLCHAIN_MISSING = ("EC0900", ExitCode.TOOLCHAIN)
    TOOLCHAIN_FAILED = ("EC0901", ExitCode.TOOLCHAIN)
    BUNDLE_VERSION = ("EC1000", ExitCode.VERSION)
    BUNDLE_CORRUPT = ("EC1001", ExitCode.VERSION)
    BUNDLE_INVALID = ("EC1002", ExitCode.VERSION)
    CALIBRATION_EMPTY = ("EC1100", ExitCode.CALIBRATION)
    CALIBRATION_INVALID = ("EC1101", ExitCode.CALIBRATION)
    CALIBRATION_DOUBTFUL = ("EC1102", ExitCode.CALIBRATION)
    BENCHMARK_INCONCLUSIVE = ("EC1200", ExitCode.INCONCLUSIVE)

    @property
    def text(self) -> str:
        """The code as printed, ``EC0103``."""
        return self.value[0]

    @property
    def exit_code(self) -> ExitCode:
        """The status the process ends with."""
        return self.value[1]


#: What to try, by code, where the place that found the error knows nothing better.
_GENERAL_HINTS = {
    Code.INTERNAL: "run again with -v and report the traceback",
    Code.INTERRUPTED: "start it again: what was compiled so far is kept",
    Code.OUT_OF_MEMORY: "close other programs, or build on a larger machine",
    Code.FILE_MISSING: "check the path, which is relative to the current folder",
    Code.MODEL_UNREADABLE: "check the permissions, or export the model again",
    Code.MODEL_INVALID: "run 'python -m onnx.checker' on the file, or export the model again",
    Code.OUTPUT_UNWRITABLE: "check the free space and the permissions there",
    Code.INPUT_MISMATCH: "'edgecomp report BUNDLE' lists the inputs",
    Code.ENTRY_INVALID: "run the file with Python alone first",
    Code.COST_TABLE_INVALID: "run 'edgecomp tune' to make one",
    Code.OPERATOR_UNSUPPORTED: "run 'edgecomp check' for the whole model against all targets",
    Code.DEVICE_FAILED: "run 'edgecomp verify', which compares the bundle's files first",
    Code.TOOLCHAIN_FAILED: "'edgecomp doctor' tries every compiler",
    Code.BUNDLE_CORRUPT: "copy the bundle again, or build it again",
    Code.BUNDLE_INVALID: "give the folder that 'edgecomp build' wrote",
    Code.BUNDLE_VERSION: "build the bundle again with this version of edgecomp",
    Code.CALIBRATION_EMPTY: "a hundred typical inputs are enough",
    Code.CALIBRATION_INVALID: "give arrays as the model takes them; docs/options.md has the forms",
}


@dataclasses.dataclass(eq=False)
class EdgecompError(Exception):
    """An error that a person can act on.

    Attributes:
        code: stable code, which also gives the exit status.
        cause: what went wrong, one line without a final period; further lines are details.
        node: name of the ONNX node or tensor it happened at, or "".
        source: ``file.py:line`` of the Python code the node came from, or "".
        path: file it happened in, or "".
        hint: one thing to try; where none is given, what helps in general with this code.
    """

    code: Code
    cause: str
    node: str = ""
    source: str = ""
    path: str = ""
    hint: str = ""

    def __post_init__(self) -> None:
        self.hint = self.hint or _GENERAL_HINTS.get(self.code, "see docs/errors.md")

    def __reduce__(self) -> tuple[object, ...]:
        """As it is now; an exception alone is made again of what it was made of by position."""
        fields = tuple(getattr(self, field.name) for field in dataclasses.fields(self))
        return type(self), fields, self.__dict__

    def __str__(self) -> str:
        where = [
            f"{label} {value}"
            for label, value in (("node", self.node), ("at", self.source), ("file", self.path))
            if value
        ]
        head = f"{self.code.text}: {self.cause}"
        return "\n".join([head, *(f"  {line}" for line in where), f"hint: {self.hint}"])

    def as_dict(self) -> dict[str, str | int]:
        """The error for ``--json``."""
        return {
            "code": self.code.text,
            "exit_code": int(self.code.exit_code),
            "cause": self.cause,
            "node": self.node,
            "source": self.source,
            "path": self.path,
            "hint": self.hint,
        }


def nearest_hint(word: str, known: Iterable[str]) -> str:
    """A ``hint`` that offers the known name closest to ``word``, or lists the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known: " + ", ".join(names)
