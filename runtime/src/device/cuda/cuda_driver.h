/* The system's CUDA driver, loaded when it is needed. */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CUDA_DRIVER_H
#define EDGECOMP_SRC_DEVICE_CUDA_CUDA_DRIVER_H

#include <stdint.h>

#include "device/cuda/cu.h"
#include "edgecomp/edgecomp.h"

/* The driver's functions, named as CUDA's without the "cu". */
typedef struct ec_cu_driver {
/* A name and parameters cannot stand in parentheses. */
#define EC_CU_POINTER(name, parameters) \
  cu_result(*name) parameters; /* NOLINT(bugprone-macro-parentheses) */
  EC_CU_FUNCTIONS(EC_CU_POINTER)
#undef EC_CU_POINTER
  uint32_t version; /* 100 * major + 10 * minor */
} ec_cu_driver;

/* Load and start it; EC_ERROR_DEVICE_ABSENT where there is none, EC_ERROR_DEVICE_FEATURE where
 * it is older than 11.4. It stays loaded until the process ends. */
EC_MUST_CHECK ec_status ec_cu_driver_load(ec_cu_driver *out_driver);

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CUDA_DRIVER_H */
