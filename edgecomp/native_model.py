"""The library of a compiled model and what its descriptor says.

A library of another descriptor version is refused before anything else of it is read. What is
read then has been checked by the runtime, when it opened a session.
"""

import ctypes
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from edgecomp.errors import Code, EdgecompError
from edgecomp.native_abi import (
    DTYPE_NAMES,
    MODEL_ABI_VERSION,
    MODEL_MAGIC,
    EcCall,
    EcModel,
    EcPort,
    EcTensor,
    declare,
)


@dataclasses.dataclass(frozen=True)
class PortInfo:
    """An input or output: ``dtype`` is numpy's name, ``shape`` in ONNX order."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """A tensor of the plan.

    Attributes:
        name: of the value.
        dtype: numpy's name.
        bytes: contents, halo included.
        offset_bytes: from the start of its storage.
        is_weight: whether it lies in the weights, else in the arena.
    """

    name: str
    dtype: str
    bytes: int
    offset_bytes: int
    is_weight: bool


@dataclasses.dataclass(frozen=True)
class CallInfo:
    """One kernel call: see ``edgecomp.plan.plan.PlanCall``; ``tensors`` are indices."""

    operator: str
    schedule: str
    nodes: tuple[str, ...]
    source: str
    multiply_adds: int
    work_items: int
    workspace_bytes: int
    tensors: tuple[int, ...]
    device: int


def load_library(path: Path) -> ctypes.CDLL:
    """Load a library and declare its functions."""
    if not path.is_file():
        raise EdgecompError(Code.FILE_MISSING, "no such library", path=str(path))
    try:
        library = ctypes.CDLL(str(path.resolve()))
        declare(library)
    except OSError as error:
        raise EdgecompError(
            Code.BUNDLE_INVALID,
            f"the library cannot be loaded: {error}",
            path=str(path),
            hint="it may be built for another kind of machine, or be damaged",
        ) from error
    except AttributeError as error:
        raise EdgecompError(
            Code.BUNDLE_INVALID,
            f"the library is not a compiled model: {error}",
            path=str(path),
            hint="give the shared library of a bundle",
        ) from error
    return library


def read_model(library: ctypes.CDLL, path: Path, name: str) -> EcModel:
    """The descriptor, if it is of the version that the structures here repeat."""
    try:
        function = getattr(library, f"ec_model_{name}")
    except AttributeError as error:
        raise EdgecompError(
            Code.BUNDLE_INVALID, f"the library has no model '{name}'", path=str(path)
        ) from error
    function.restype = ctypes.POINTER(EcModel)
    address = function()
    if not address:
        raise EdgecompError(Code.BUNDLE_INVALID, "the library has no model", path=str(path))
    model: EcModel = address.contents
    if model.magic != MODEL_MAGIC:
        raise EdgecompError(
            Code.BUNDLE_INVALID, "the library's model is not a descriptor", path=str(path)
        )
    if model.abi_version != MODEL_ABI_VERSION or model.struct_bytes != ctypes.sizeof(EcModel):
        raise EdgecompError(
            Code.BUNDLE_VERSION,
            f"the model has descriptor version {model.abi_version} "
            f"({model.struct_bytes} bytes), this edgecomp reads {MODEL_ABI_VERSION} "
            f"({ctypes.sizeof(EcModel)} bytes)",
            path=str(path),
            hint="build the bundle with this version of edgecomp",
        )
    return model


def text_of(value: bytes | None) -> str:
    """A text of the library."""
    return (value or b"").decode("utf-8", "replace")


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The type of a name of ``DTYPE_NAMES``."""
    try:
        return np.dtype(name)
    except TypeError:
        import ml_dtypes

        # numpy knows the names of these types once the module is loaded.
        found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
        return found


def port_info(port: EcPort) -> PortInfo:
    """What an input or output of the descriptor is."""
    return PortInfo(
        text_of(port.name),
        DTYPE_NAMES[port.dtype],
        tuple(port.shape[d] for d in range(port.rank)),
    )


def tensor_info(tensor: EcTensor) -> TensorInfo:
    """What a tensor of the descriptor is."""
    return TensorInfo(
        text_of(tensor.name),
        DTYPE_NAMES[tensor.dtype],
        int(tensor.bytes),
        int(tensor.offset_bytes),
        tensor.storage == 1,
    )


def call_info(call: EcCall) -> CallInfo:
    """What a call of the descriptor does."""
    return CallInfo(
        operator=text_of(call.operator_name),
        schedule=text_of(call.schedule),
        nodes=tuple(filter(None, text_of(call.nodes).split(","))),
        source=text_of(call.source),
        multiply_adds=int(call.multiply_adds),
        work_items=int(call.work_items),
        workspace_bytes=int(call.workspace_bytes),
        tensors=tuple(call.tensors[i] for i in range(call.pointer_count)),
        device=int(call.device),
    )
