"""From a portable ONNX model to a static plan with compiled kernels."""

import edgecomp.onnx_ir_import  # noqa: F401 - before onnx_ir itself
