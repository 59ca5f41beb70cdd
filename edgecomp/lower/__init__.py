"""From a portable ONNX model to a static plan with compiled kernels."""

from edgecomp.tvm_import import import_tvm

import_tvm()
