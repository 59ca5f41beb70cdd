/* The device's memory: a buffer for each tensor that its calls use. */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_BUFFERS_H
#define EDGECOMP_SRC_DEVICE_OPENCL_BUFFERS_H

#include <stdbool.h>
#include <stdint.h>

#include "device/opencl/choose.h"
#include "device/opencl/cl.h"
#include "device/opencl/driver.h"
#include "edgecomp/edgecomp.h"
#include "exec/device.h"

/* `buffers` has one entry for each tensor of the model, NULL where no call of the device uses
 * it. Tensors in the arena are parts of one buffer, laid out as the session's arena, where the
 * device takes buffers so large and parts so aligned; else each has one of its own. Those that
 * are shared (sharing.h) are where the session has them, weights too where the device shares
 * the CPU's memory. */
typedef struct ec_cl_buffers {
  const ec_cl_driver *driver;
  const ec_cl_device *device;
  cl_context context;
  cl_mem arena; /* NULL until a tensor is in it */
  cl_mem *tensors;
  void **mapped;      /* of a shared tensor while the CPU may use it, else NULL */
  uint8_t *is_shared; /* whether a tensor's buffer is its memory in the session's arena */
} ec_cl_buffers;

/* Make the buffer of a tensor if there is none yet; weights are copied into theirs. */
EC_MUST_CHECK ec_status ec_cl_buffer_make(ec_cl_buffers *buffers,
                                          const ec_device_context *session, uint32_t tensor);

/* Whether a tensor of the arena, one that is not shared, is a part of the buffer for all. */
bool ec_cl_is_part(const ec_cl_buffers *buffers, const ec_model *model,
                   const ec_tensor *tensor);

/* Give all of them back. */
void ec_cl_buffers_release(ec_cl_buffers *buffers, uint32_t tensor_count);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_BUFFERS_H */
