"""Kernels. One kernel kind per file; a family (``cpu``, later GPUs) lists its files in order."""
