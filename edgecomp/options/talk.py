"""Options of every verb: how much is said, and how."""

import dataclasses

from edgecomp.options.option import Options, check_choice, option, usage

LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TalkOptions(Options):
    """How much is said, and how. Every verb has these."""

    json: bool = option(False, "print the result, or the error, as JSON")
    verbose: bool = option(
        False, "log what is done; show tracebacks of internal errors", flags=("-v",)
    )
    quiet: bool = option(False, "no progress and no notes", flags=("-q",))
    log_level: str | None = option(
        None, "log messages of this level and above to stderr", choices=LOG_LEVELS
    )

    def _check(self) -> None:
        if self.verbose and self.quiet:
            raise usage("quiet", "not together with --verbose")
        if self.log_level is not None:
            check_choice("log_level", self.log_level, LOG_LEVELS)
