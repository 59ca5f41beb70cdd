"""onnxruntime, imported so that it sends nothing."""

import importlib
import os
from typing import Any


def load_onnxruntime() -> Any:
    """The module ``onnxruntime``, with its telemetry off.

    Since 1.31 the Linux packages write a session file into the temporary folder and report uses
    to a server of their maker, unless this variable is set before the library is loaded. A build
    must need no network and tell nobody what it builds.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    return importlib.import_module("onnxruntime")
