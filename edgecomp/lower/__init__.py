"""From a portable ONNX model to a static plan with compiled kernels."""
