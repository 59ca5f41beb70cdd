"""Compression of trained weights by numbers alone: methods on ONNX weights and samples."""
