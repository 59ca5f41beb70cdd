/* Which CUDA device runs a model, and what it is like. */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CUDA_CHOOSE_H
#define EDGECOMP_SRC_DEVICE_CUDA_CUDA_CHOOSE_H

#include <stdint.h>

#include "device/cuda/cu.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

#define EC_CU_NAME_BYTES 128

typedef struct ec_cu_device {
  cu_device id;
  char name[EC_CU_NAME_BYTES];
  uint32_t capability; /* 10 * major + minor: 87 is 8.7 */
  uint64_t memory_bytes;
  uint32_t most_threads[3]; /* of a block, by dimension */
  uint32_t most_blocks[3];  /* of a grid */
} ec_cu_device;

/* The first device, in the driver's order, that the model's programs for CUDA have code for
 * and whose name contains options->device_name where that is given. EC_ERROR_DEVICE_ABSENT
 * where there is none of such a name, EC_ERROR_DEVICE_FEATURE where none has the capability,
 * or the driver is older than the code. */
EC_MUST_CHECK ec_status ec_cu_choose(const ec_cu_driver *driver, const ec_model *model,
                                     const ec_open_options *options, ec_cu_device *out_device);

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CUDA_CHOOSE_H */
