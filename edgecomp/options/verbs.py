"""Which verb has which options."""

from typing import Any

from edgecomp.options.benchmark import BenchmarkOptions
from edgecomp.options.budget import BudgetOptions
from edgecomp.options.build import BuildOptions
from edgecomp.options.check import CheckOptions
from edgecomp.options.debug import DebugOptions
from edgecomp.options.device import RunOptions, VerifyOptions
from edgecomp.options.tune import TuneOptions

#: Verb -> its options, for the reference page. TalkOptions come with each.
VERBS: dict[str, type] = {
    "build": BuildOptions,
    "quantize": BudgetOptions,
    "run": RunOptions,
    "benchmark": BenchmarkOptions,
    "verify": VerifyOptions,
    "tune": TuneOptions,
    "check": CheckOptions,
    "debug": DebugOptions,
}
#: Verb -> defaults that are other than the class's.
VERB_DEFAULTS: dict[str, dict[str, Any]] = {"quantize": {"precision": "w8a8"}}
