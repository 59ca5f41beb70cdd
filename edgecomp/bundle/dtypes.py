"""Element types: numpy name -> the C enumerator of ``edgecomp/model.h``."""

from edgecomp.errors import Code, EdgecompError

_ENUMERATORS = {
    "float32": "EC_DTYPE_FLOAT32",
    "uint8": "EC_DTYPE_UINT8",
    "int8": "EC_DTYPE_INT8",
    "uint16": "EC_DTYPE_UINT16",
    "int16": "EC_DTYPE_INT16",
    "int32": "EC_DTYPE_INT32",
    "int64": "EC_DTYPE_INT64",
    "bool": "EC_DTYPE_BOOL",
    "float16": "EC_DTYPE_FLOAT16",
    "float64": "EC_DTYPE_FLOAT64",
    "uint32": "EC_DTYPE_UINT32",
    "uint64": "EC_DTYPE_UINT64",
    "bfloat16": "EC_DTYPE_BFLOAT16",
    "float8_e4m3fn": "EC_DTYPE_FLOAT8_E4M3FN",
    "float8_e4m3fnuz": "EC_DTYPE_FLOAT8_E4M3FNUZ",
    "float8_e5m2": "EC_DTYPE_FLOAT8_E5M2",
    "float8_e5m2fnuz": "EC_DTYPE_FLOAT8_E5M2FNUZ",
    "uint4": "EC_DTYPE_UINT4",
    "int4": "EC_DTYPE_INT4",
    "float4_e2m1fn": "EC_DTYPE_FLOAT4_E2M1FN",
    "float8_e8m0fnu": "EC_DTYPE_FLOAT8_E8M0FNU",
    "uint2": "EC_DTYPE_UINT2",
    "int2": "EC_DTYPE_INT2",
}


def enumerator(dtype: str, tensor: str) -> str:
    """The ``ec_dtype`` of a numpy name; ``tensor`` is named when there is none."""
    if dtype not in _ENUMERATORS:
        raise EdgecompError(
            Code.INTERNAL, f"the runtime has no element type '{dtype}'", node=tensor
        )
    return _ENUMERATORS[dtype]
