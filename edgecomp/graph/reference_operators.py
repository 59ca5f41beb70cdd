"""Operators that onnx's reference evaluator computes otherwise than the standard says."""

import numpy as np
from onnx.reference.op_run import OpRun

from edgecomp.graph.constants import AnyArray


class GlobalMaxPool(OpRun):
    """The greatest element of each channel; onnx's own drops the dimensions (1.23.2)."""

    op_domain = ""

    def _run(self, x: AnyArray) -> tuple[AnyArray]:
        return (np.asarray(x.max(axis=tuple(range(2, x.ndim)), keepdims=True)),)


#: For ``ReferenceEvaluator(..., new_ops=)``.
CORRECTED: list[type[OpRun]] = [GlobalMaxPool]
