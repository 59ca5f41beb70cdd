"""The C interface of the runtime as ctypes sees it.

Repeats runtime/include/edgecomp/model.h and edgecomp.h, field by field and in their order.
"""

import ctypes
import enum
from typing import Any

MODEL_MAGIC = 0x4C444D45
MODEL_ABI_VERSION = 8
MAX_RANK = 8

#: Name of a plan -> ec_plan_choice.
PLANS = {"auto": 0, "device": 1, "cpu": 2}

#: ec_dtype -> numpy name.
DTYPE_NAMES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    21: "uint4",
    22: "int4",
    23: "float4_e2m1fn",
    24: "float8_e8m0fnu",
    25: "uint2",
    26: "int2",
}


class Status(enum.IntEnum):
    """ec_status."""

    OK = 0
    ARGUMENT = 0x10
    INPUT_NAME = 0x11
    INPUT_BYTES = 0x12
    MEMORY_TOO_SMALL = 0x13
    ROUNDS = 0x14
    BRANCH = 0x15
    SHAPE = 0x16
    COUNT = 0x17
    OUT_OF_MEMORY = 0x20
    FILE = 0x21
    THREAD = 0x22
    DESCRIPTOR = 0x30
    VERSION = 0x31
    WEIGHTS_BYTES = 0x32
    WEIGHTS_HASH = 0x33
    CPU_FEATURE = 0x40
    DEVICE_ABSENT = 0x41
    DEVICE = 0x42
    DEVICE_FEATURE = 0x43
    DEVICE_BUILD = 0x44
    DEVICE_MEMORY = 0x45
    DEVICE_LOST = 0x46


class EcTensor(ctypes.Structure):
    """ec_tensor."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("offset_bytes", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("dtype", ctypes.c_uint32),
        ("storage", ctypes.c_uint32),
    )


class EcCall(ctypes.Structure):
    """ec_call."""

    _fields_ = (
        ("kernel", ctypes.c_void_p),
        ("tensors", ctypes.POINTER(ctypes.c_uint32)),
        ("pointer_count", ctypes.c_uint32),
        ("work_items", ctypes.c_uint32),
        ("workspace_bytes", ctypes.c_uint64),
        ("multiply_adds", ctypes.c_uint64),
        ("operator_name", ctypes.c_char_p),
        ("schedule", ctypes.c_char_p),
        ("nodes", ctypes.c_char_p),
        ("source", ctypes.c_char_p),
        ("device", ctypes.c_uint32),
        ("grain_items", ctypes.c_uint32),
        ("first_item", ctypes.c_uint32),
        ("strip", ctypes.c_uint32),
        ("strip_flags", ctypes.c_uint32),
        ("launch", ctypes.c_void_p),
    )


class EcRegion(ctypes.Structure):
    """ec_region."""

    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("first_call", ctypes.c_uint32),
        ("end_call", ctypes.c_uint32),
        ("condition", ctypes.c_uint32),
        ("expected", ctypes.c_uint32),
        ("limit", ctypes.c_uint32),
        ("counter", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("most_rounds", ctypes.c_uint64),
    )


class EcPort(ctypes.Structure):
    """ec_port."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("tensor", ctypes.c_uint32),
        ("dtype", ctypes.c_uint32),
        ("rank", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
        ("shape", ctypes.c_int64 * MAX_RANK),
    )


class EcModel(ctypes.Structure):
    """ec_model."""

    _fields_ = (
        ("magic", ctypes.c_uint32),
        ("abi_version", ctypes.c_uint32),
        ("struct_bytes", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("target", ctypes.c_char_p),
        ("required_features", ctypes.c_char_p),
        ("tensors", ctypes.POINTER(EcTensor)),
        ("calls", ctypes.POINTER(EcCall)),
        ("inputs", ctypes.POINTER(EcPort)),
        ("outputs", ctypes.POINTER(EcPort)),
        ("tensor_count", ctypes.c_uint32),
        ("call_count", ctypes.c_uint32),
        ("input_count", ctypes.c_uint32),
        ("output_count", ctypes.c_uint32),
        ("arena_bytes", ctypes.c_uint64),
        ("workspace_bytes", ctypes.c_uint64),
        ("weights_bytes", ctypes.c_uint64),
        ("weights_hash", ctypes.c_uint64),
        ("embedded_weights", ctypes.c_void_p),
        ("weights_file", ctypes.c_char_p),
        ("dynamic", ctypes.c_void_p),
        ("regions", ctypes.POINTER(EcRegion)),
        ("programs", ctypes.c_void_p),
        ("region_count", ctypes.c_uint32),
        ("program_count", ctypes.c_uint32),
        ("reserved", ctypes.c_uint64 * 2),
        ("cpu_plan", ctypes.c_void_p),
    )


class EcOpenOptions(ctypes.Structure):
    """ec_open_options."""

    _fields_ = (
        ("struct_bytes", ctypes.c_uint64),
        ("weights_path", ctypes.c_char_p),
        ("weights", ctypes.c_void_p),
        ("weights_bytes", ctypes.c_uint64),
        ("threads", ctypes.c_uint32),
        ("skip_hash", ctypes.c_uint32),
        ("thread_shares", ctypes.POINTER(ctypes.c_uint32)),
        ("device_name", ctypes.c_char_p),
        ("device_cache", ctypes.c_char_p),
        ("plan", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


class EcCallProfile(ctypes.Structure):
    """ec_call_profile."""

    _fields_ = (
        ("runs", ctypes.c_uint64),
        ("total_ns", ctypes.c_uint64),
        ("minimum_ns", ctypes.c_uint64),
    )


def declare(library: ctypes.CDLL) -> None:
    """Set the types of the functions; AttributeError for a library that lacks one."""
    pointer, index, count = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "ec_model_default": (ctypes.POINTER(EcModel), []),
        "ec_last_message": (ctypes.c_char_p, []),
        "ec_session_open": (ctypes.c_int, [pointer, pointer, pointer]),
        "ec_session_close": (None, [pointer]),
        "ec_session_model": (ctypes.POINTER(EcModel), [pointer]),
        "ec_session_device_failure": (
            ctypes.c_int,
            [pointer, ctypes.POINTER(ctypes.c_char_p)],
        ),
        "ec_session_set_input_shape": (ctypes.c_int, [pointer, index, pointer, index]),
        "ec_session_output_shape": (ctypes.c_int, [pointer, index, pointer, pointer]),
        "ec_session_set_input": (ctypes.c_int, [pointer, index, pointer, count]),
        "ec_session_get_output": (ctypes.c_int, [pointer, index, pointer, count]),
        "ec_session_run": (ctypes.c_int, [pointer]),
        "ec_session_run_prefix": (ctypes.c_int, [pointer, index]),
        "ec_session_run_profiled": (ctypes.c_int, [pointer, pointer, index]),
        "ec_session_tensor_data": (ctypes.c_int, [pointer, index, pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
