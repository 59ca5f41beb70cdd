"""Records of kernels to TVM's functions, for what its OpenCL text says otherwise than meant."""

from typing import Any

import numpy as np

from edgecomp.schedules.replay import Make, replay
from edgecomp.schedules.tirx import Dtype, Node, dtype_of

import edgecomp.tvm_import  # noqa: F401  # isort: skip
from tvm import tirx  # isort: skip

_NAMES = {
    "float16": "half",
    "float32": "float",
    "int32": "int",
    "uint32": "uint",
    "int16": "short",
    "uint16": "ushort",
    "int8": "char",
    "uint8": "uchar",
    "int64": "long",
    "uint64": "ulong",
}


_LEAST_INT = -(1 << 31)


def replay_for_opencl(node: Node) -> Any:
    """The function of a record."""
    own: dict[str, Make] = {
        "const": _constant,
        "number": lambda value: _constant(value, "float32"),
        "reinterpret": _reinterpret,
        "Select": _select,
        "Shuffle": _shuffle,
    }
    return replay(node, own)


def _constant(value: Any, dtype: str) -> Any:
    """A number; a float that six digits do not hold, which is all TVM writes, by its bits."""
    if dtype == "int32" and value == _LEAST_INT:
        # In C the sign is no part of a number, and the number without it no int.
        return tirx.call_pure_extern("int32", "as_int", tirx.const(-_LEAST_INT, "uint32"))
    if dtype != "float32":
        return tirx.const(value, dtype)
    exact = np.float32(value)
    if np.float32(f"{exact:e}") == exact and np.isfinite(exact):
        return tirx.const(float(exact), dtype)
    bits = int(exact.view(np.int32))
    return tirx.call_pure_extern("float32", "as_float", tirx.const(bits, "int32"))


def _reinterpret(dtype: str, value: Any) -> Any:
    """OpenCL has functions for it; TVM writes casts of pointers to variables of its own."""
    return tirx.call_pure_extern(dtype, f"as_{opencl_name(dtype_of(dtype))}", value)


def _select(condition: Any, chosen: Any, other: Any) -> Any:
    """A scalar by C's operator: ``select`` of small integers is ambiguous."""
    if dtype_of(str(condition.ty.dtype)).lanes == 1:
        return tirx.if_then_else(condition, chosen, other)
    return tirx.Select(condition, chosen, other)


def _shuffle(vectors: list[Any], indices: list[Any]) -> Any:
    """A vector of scalars as OpenCL C writes it; TVM writes C++'s constructor."""
    if len(vectors) == 1 or any(dtype_of(str(v.ty.dtype)).lanes > 1 for v in vectors):
        return tirx.Shuffle(vectors, indices)
    dtype = dtype_of(str(vectors[0].ty.dtype)).with_lanes(len(indices))
    lanes = [vectors[int(index)] for index in indices]
    return tirx.call_pure_extern(dtype.name, f"({opencl_name(dtype)})", *lanes)


def opencl_name(dtype: Dtype) -> str:
    """What OpenCL C calls a type."""
    return _NAMES[dtype.element] + (str(dtype.lanes) if dtype.lanes > 1 else "")
