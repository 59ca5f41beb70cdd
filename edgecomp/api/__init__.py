"""The steps joined: what ``import edgecomp`` and the command line offer."""

from edgecomp.api.budgets import within_budget
from edgecomp.api.building import build, compile  # noqa: A004 - the word of the field
from edgecomp.api.bundles import benchmark, open, run, verify  # noqa: A004
from edgecomp.api.findings import check, debug, tune
from edgecomp.api.models import export, finetune, quantize, save

__all__ = [
    "benchmark",
    "build",
    "check",
    "compile",
    "debug",
    "export",
    "finetune",
    "open",
    "quantize",
    "run",
    "save",
    "tune",
    "verify",
    "within_budget",
]
