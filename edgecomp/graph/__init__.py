"""Walk, edit, check and print onnx_ir models."""
