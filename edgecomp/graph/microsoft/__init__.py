"""Operators of com.microsoft, which onnxruntime's optimizer and quantizer write, in ONNX's own."""
