#include "core/dtype.h"

#include <stdint.h>

#include "edgecomp/model.h"

uint32_t ec_dtype_bytes(uint32_t dtype) {
  switch ((ec_dtype)dtype) {
    case EC_DTYPE_UINT8:
    case EC_DTYPE_INT8:
    case EC_DTYPE_BOOL:
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
