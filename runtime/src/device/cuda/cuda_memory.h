/* One piece of the device's memory: its arena, then the weights that its calls read; and
 * pinned memory of the CPU's, through which tensors are copied. */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CUDA_MEMORY_H
#define EDGECOMP_SRC_DEVICE_CUDA_CUDA_MEMORY_H

#include <stdint.h>

#include "device/cuda/cu.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"
#include "exec/device.h"

typedef struct ec_cu_memory {
  cu_address pool;       /* 0 until it is made */
  uint8_t *staging;      /* NULL until it is made */
  cu_address *addresses; /* by tensor; 0 where no call for the device has it */
  uint64_t *staged; /* by tensor: its place in the pinned memory, of those that are copied */
} ec_cu_memory;

/* Make both, with `addresses` and `staged` zeroed by the caller, and copy the weights. What
 * was made before a failure is there for ec_cu_memory_release. */
EC_MUST_CHECK ec_status ec_cu_memory_make(const ec_cu_driver *driver,
                                          const ec_device_context *session,
                                          ec_cu_memory *memory);

void ec_cu_memory_release(const ec_cu_driver *driver, const ec_cu_memory *memory);

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CUDA_MEMORY_H */
