"""Graph rewrites on onnx_ir models: one pass per file, ``pipeline.py`` holds the order."""
