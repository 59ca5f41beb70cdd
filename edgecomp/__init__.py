"""edgecomp: compile a trained model into a small native program for a device.

import edgecomp

model = edgecomp.export(module, (example,))
quantized = edgecomp.quantize(model, "images/")
bundle = edgecomp.compile(quantized, "raspberry-pi-5", output="bundle")
edgecomp.verify(bundle, "qemu")
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgecomp.api import (
        benchmark,
        build,
        check,
        compile,
        debug,
        export,
        finetune,
        open,
        quantize,
        run,
        tune,
        verify,
    )
    from edgecomp.bundle.reader import Bundle
    from edgecomp.errors import EdgecompError
    from edgecomp.options import (
        BenchmarkOptions,
        BuildOptions,
        DebugOptions,
        QuantizeOptions,
        TuneOptions,
    )

__all__ = [
    "BenchmarkOptions",
    "BuildOptions",
    "Bundle",
    "DebugOptions",
    "EdgecompError",
    "QuantizeOptions",
    "TuneOptions",
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
    "tune",
    "verify",
]

#: Public name -> module, imported when it is first used: ``edgecomp --help`` comes through here.
_MODULES = {
    "Bundle": "edgecomp.bundle.reader",
    "EdgecompError": "edgecomp.errors",
    "BenchmarkOptions": "edgecomp.options",
    "BuildOptions": "edgecomp.options",
    "DebugOptions": "edgecomp.options",
    "QuantizeOptions": "edgecomp.options",
    "TuneOptions": "edgecomp.options",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'edgecomp' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES.get(name, "edgecomp.api")), name)
