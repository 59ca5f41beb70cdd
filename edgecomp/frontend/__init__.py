"""The door: torch modules, ``.pt2`` and ``.onnx`` files to checked onnx_ir models."""
