"""Walk, edit, check and print onnx_ir models."""

import edgecomp.onnx_ir_import  # noqa: F401 - before onnx_ir itself
