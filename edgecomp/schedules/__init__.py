"""Kernels. One kernel kind per file; a family (``cpu``, later GPUs) lists its files in order."""

from edgecomp.tvm_import import import_tvm

import_tvm()
