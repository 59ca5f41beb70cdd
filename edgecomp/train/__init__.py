"""Fine-tuning of quantized models in torch: what is trained is the portable file itself.

    import edgecomp.train

    model = edgecomp.quantize(module, "images/", args=(example,))
    tuned = edgecomp.train.finetune(model, batches, torch.nn.functional.cross_entropy)
    edgecomp.compile(tuned.model, "raspberry-pi-5", output="bundle")

docs/quantization-aware.md explains. torch is imported when a name of this package is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from edgecomp.errors import Code, EdgecompError

if TYPE_CHECKING:
    from edgecomp.train.loop import Finetuned, finetune
    from edgecomp.train.loss import distillation_loss
    from edgecomp.train.network import Network
    from edgecomp.train.write import trained_model

__all__ = ["Finetuned", "Network", "distillation_loss", "finetune", "trained_model"]

_MODULES = {
    "Finetuned": "edgecomp.train.loop",
    "Network": "edgecomp.train.network",
    "distillation_loss": "edgecomp.train.loss",
    "finetune": "edgecomp.train.loop",
    "trained_model": "edgecomp.train.write",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'edgecomp.train' has no attribute '{name}'")
    try:
        importlib.import_module("torch")
    except ImportError as error:
        raise EdgecompError(
            Code.PACKAGE_MISSING,
            "torch is not installed, and training needs it",
            hint="pip install 'edgecomp[torch]'",
        ) from error
    return getattr(importlib.import_module(_MODULES[name]), name)
