"""Measure the kernels of a model's layers on a device and keep the times in a cost table."""
