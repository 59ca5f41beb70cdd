#include "edgecomp/edgecomp.h"

const char *ec_status_name(ec_status status) {
  switch (status) { /* no default: a missing status does not compile */
    case EC_OK:
      return "ok";
    case EC_ERROR_ARGUMENT:
      return "argument";
    case EC_ERROR_INPUT_NAME:
      return "input_name";
    case EC_ERROR_INPUT_BYTES:
      return "input_bytes";
    case EC_ERROR_MEMORY_TOO_SMALL:
      return "memory_too_small";
    case EC_ERROR_SHAPE:
      return "shape";
    case EC_ERROR_COUNT:
      return "count";
    case EC_ERROR_ROUNDS:
      return "rounds";
    case EC_ERROR_BRANCH:
      return "branch";
    case EC_ERROR_OUT_OF_MEMORY:
      return "out_of_memory";
    case EC_ERROR_FILE:
      return "file";
    case EC_ERROR_THREAD:
      return "thread";
    case EC_ERROR_DESCRIPTOR:
      return "descriptor";
    case EC_ERROR_VERSION:
      return "version";
    case EC_ERROR_WEIGHTS_BYTES:
      return "weights_bytes";
    case EC_ERROR_WEIGHTS_HASH:
      return "weights_hash";
    case EC_ERROR_CPU_FEATURE:
      return "cpu_feature";
    case EC_ERROR_DEVICE_ABSENT:
      return "device_absent";
    case EC_ERROR_DEVICE:
      return "device";
    case EC_ERROR_DEVICE_FEATURE:
      return "device_feature";
    case EC_ERROR_DEVICE_BUILD:
      return "device_build";
    case EC_ERROR_DEVICE_MEMORY:
      return "device_memory";
    case EC_ERROR_DEVICE_LOST:
      return "device_lost";
  }
  return "unknown";
}
