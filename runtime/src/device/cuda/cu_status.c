#include "device/cuda/cu_status.h"

#include <stddef.h>

#include "core/message.h"
#include "device/cuda/cu.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"

static const char *name_of(const ec_cu_driver *driver, cu_result result) {
  const char *name = NULL;
  return driver->GetErrorName(result, &name) == CU_SUCCESS && name != NULL ? name : "unknown";
}

ec_status ec_cu_status(const ec_cu_driver *driver, cu_result result, const char *action,
                       const char *subject) {
  if (result == CU_SUCCESS) {
    return EC_OK;
  }
  const char *name = name_of(driver, result);
  switch (result) {
    case CU_OUT_OF_MEMORY:
    case CU_LAUNCH_OUT_OF_RESOURCES:
      return EC_FAIL(EC_ERROR_DEVICE_MEMORY,
                     "the CUDA device has no memory or registers left to %s '%s' (%u, %s)",
                     action, subject, result, name);
    /* After these the context is of no use. */
    case CU_DEINITIALIZED:
    case CU_DEVICE_UNAVAILABLE:
    case CU_INVALID_CONTEXT:
    case CU_ECC_UNCORRECTABLE:
    case CU_NVLINK_UNCORRECTABLE:
    case CU_CONTAINED:
    case CU_ILLEGAL_ADDRESS:
    case CU_LAUNCH_TIMEOUT:
    case CU_CONTEXT_IS_DESTROYED:
    case CU_ASSERT:
    case CU_HARDWARE_STACK_ERROR:
    case CU_ILLEGAL_INSTRUCTION:
    case CU_MISALIGNED_ADDRESS:
    case CU_INVALID_ADDRESS_SPACE:
    case CU_INVALID_PC:
    case CU_LAUNCH_FAILED:
      return EC_FAIL(EC_ERROR_DEVICE_LOST,
                     "the CUDA device was lost: it failed to %s '%s' (%u, %s)", action,
                     subject, result, name);
    default:
      return EC_FAIL(EC_ERROR_DEVICE, "the CUDA driver failed to %s '%s' (%u, %s)", action,
                     subject, result, name);
  }
}

ec_status ec_cu_absent(const ec_cu_driver *driver, cu_result result) {
  const char *name = name_of(driver, result);
  switch (result) {
    case CU_CALL_REQUIRES_NEWER_DRIVER:
    case CU_SYSTEM_DRIVER_MISMATCH:
    case CU_COMPAT_NOT_SUPPORTED:
      return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                     "the CUDA driver does not fit this system or its device (%u, %s)", result,
                     name);
    default:
      return EC_FAIL(EC_ERROR_DEVICE_ABSENT, "this system has no CUDA device (%u, %s)", result,
                     name);
  }
}
