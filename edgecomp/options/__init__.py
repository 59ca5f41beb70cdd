"""Every option once. The command line, the configuration file and docs/options.md come from here.

``option`` says what an option is; the options of each verb are in a file of their own.
"""

from edgecomp.options.benchmark import BenchmarkOptions
from edgecomp.options.budget import BudgetOptions
from edgecomp.options.build import BuildOptions
from edgecomp.options.check import CheckOptions
from edgecomp.options.debug import DebugOptions
from edgecomp.options.device import DeviceOptions, RunOptions, VerifyOptions
from edgecomp.options.image import ImageOptions
from edgecomp.options.model import ModelOptions
from edgecomp.options.option import facts_of, fields_of, flag_of
from edgecomp.options.precisions import (
    DYNAMIC_BITS,
    GPU_FLOATS,
    PRECISIONS,
    SIXTEEN_BITS,
    WEIGHT_BITS,
    WEIGHT_TYPES,
    WEIGHTS_PROPERTY,
)
from edgecomp.options.quantize import (
    CALIBRATION_METHODS,
    SEARCHED,
    WEIGHT_METHODS,
    WEIGHT_ROUNDINGS,
    QuantizeOptions,
)
from edgecomp.options.talk import TalkOptions
from edgecomp.options.tune import TuneOptions
from edgecomp.options.verbs import VERB_DEFAULTS, VERBS

__all__ = [
    "BenchmarkOptions",
    "BudgetOptions",
    "BuildOptions",
    "CALIBRATION_METHODS",
    "CheckOptions",
    "DYNAMIC_BITS",
    "DebugOptions",
    "GPU_FLOATS",
    "DeviceOptions",
    "ImageOptions",
    "ModelOptions",
    "PRECISIONS",
    "QuantizeOptions",
    "RunOptions",
    "SEARCHED",
    "SIXTEEN_BITS",
    "TalkOptions",
    "TuneOptions",
    "VERBS",
    "VERB_DEFAULTS",
    "VerifyOptions",
    "WEIGHTS_PROPERTY",
    "WEIGHT_BITS",
    "WEIGHT_METHODS",
    "WEIGHT_ROUNDINGS",
    "WEIGHT_TYPES",
    "facts_of",
    "fields_of",
    "flag_of",
]
