"""Graph rewrites on onnx_ir models: one pass per file, ``pipeline.py`` holds the order."""

import edgecomp.onnx_ir_import  # noqa: F401 - before onnx_ir itself
