"""The door: torch modules, ``.pt2`` and ``.onnx`` files to checked onnx_ir models."""

import edgecomp.onnx_ir_import  # noqa: F401 - before onnx_ir itself
