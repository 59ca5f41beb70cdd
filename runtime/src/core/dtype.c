#include "core/dtype.h"

#include <stdint.h>

#include "edgecomp/model.h"

uint32_t ec_dtype_bytes(uint32_t dtype) {
  switch ((ec_dtype)dtype) {
    case EC_DTYPE_UINT8:
    case EC_DTYPE_INT8:
    case EC_DTYPE_BOOL:
    case EC_DTYPE_FLOAT8_E4M3FN:
    case EC_DTYPE_FLOAT8_E4M3FNUZ:
    case EC_DTYPE_FLOAT8_E5M2:
    case EC_DTYPE_FLOAT8_E5M2FNUZ:
    case EC_DTYPE_UINT4:
    case EC_DTYPE_INT4:
    case EC_DTYPE_FLOAT4_E2M1FN:
    case EC_DTYPE_FLOAT8_E8M0FNU:
    case EC_DTYPE_UINT2:
    case EC_DTYPE_INT2:
      return 1;
    case EC_DTYPE_UINT16:
    case EC_DTYPE_INT16:
    case EC_DTYPE_FLOAT16:
    case EC_DTYPE_BFLOAT16:
      return 2;
    case EC_DTYPE_FLOAT32:
    case EC_DTYPE_INT32:
    case EC_DTYPE_UINT32:
      return 4;
    case EC_DTYPE_INT64:
    case EC_DTYPE_FLOAT64:
    case EC_DTYPE_UINT64:
      return 8;
  }
  return 0;
}
