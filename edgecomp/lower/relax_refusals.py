"""What Relax's importer gets wrong, found by comparing it with onnxruntime."""

import onnx


def refusal(model: onnx.ModelProto) -> str:
    """Why a single-node model must not be given to Relax, "" if it may."""
    return ""
