"""The longer steps that ``edgecomp.api`` joins, one per file."""

import edgecomp.onnx_ir_import  # noqa: F401 - before onnx_ir itself
