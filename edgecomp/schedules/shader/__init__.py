"""Texts of kernels in the languages that apps compile by themselves: Metal's and WebGPU's."""
