#include "device/cuda/cuda_memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "core/message.h"
#include "device/cuda/cu.h"
#include "device/cuda/cu_status.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"

/* Of each tensor in the pool: a cache line of the device. */
#define PLACE_BYTES 128u

static uint64_t rounded(uint64_t bytes) {
  return (bytes + PLACE_BYTES - 1) / PLACE_BYTES * PLACE_BYTES;
}

/* Give every weight that a call for the device reads a place behind the arena, and every
 * tensor that is copied one in the pinned memory. `addresses` holds places in the pool,
 * plus 1. The sums fit: the descriptor's own do, and each tensor counts once. */
static void find_places(const ec_model *model, ec_cu_memory *memory, uint64_t *out_pool_bytes,
                        uint64_t *out_staging_bytes) {
  uint64_t pool = rounded(model->arena_bytes);
  uint64_t staging = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    const ec_call *call = &model->calls[i];
    if (call->device != EC_DEVICE_CUDA) {
      continue;
    }
    for (uint32_t k = 0; k < call->pointer_count; ++k) {
      uint32_t index = call->tensors[k];
      const ec_tensor *tensor = &model->tensors[index];
      bool is_weight = tensor->storage == EC_STORAGE_WEIGHTS;
      if (memory->addresses[index] == 0) {
        memory->addresses[index] = (is_weight ? pool : tensor->offset_bytes) + 1;
        pool += is_weight ? rounded(tensor->bytes + EC_SLACK_BYTES) : 0;
      }
      if (call->launch->kind != EC_LAUNCH_KERNEL && memory->staged[index] == 0) {
        memory->staged[index] = staging + 1;
        staging += rounded(tensor->bytes);
      }
    }
  }
  *out_pool_bytes = pool;
  *out_staging_bytes = staging;
}

static cu_result copy_weights(const ec_cu_driver *driver, const ec_device_context *session,
                              const ec_cu_memory *memory) {
  const ec_model *model = session->model;
  cu_result result = CU_SUCCESS;
  for (uint32_t i = 0; result == CU_SUCCESS && i < model->tensor_count; ++i) {
    const ec_tensor *tensor = &model->tensors[i];
    if (memory->addresses[i] != 0 && tensor->storage == EC_STORAGE_WEIGHTS) {
      result = driver->MemcpyHtoD_v2(memory->addresses[i],
                                     session->weights + (size_t)tensor->offset_bytes,
                                     (size_t)(tensor->bytes + EC_SLACK_BYTES));
    }
  }
  /* A copy from memory that is not pinned may return before the device has all of it. */
  return result == CU_SUCCESS ? driver->StreamSynchronize(NULL) : result;
}

ec_status ec_cu_memory_make(const ec_cu_driver *driver, const ec_device_context *session,
                            ec_cu_memory *memory) {
  const ec_model *model = session->model;
  uint64_t pool_bytes = 0;
  uint64_t staging_bytes = 0;
  find_places(model, memory, &pool_bytes, &staging_bytes);
  if (pool_bytes > SIZE_MAX || staging_bytes > SIZE_MAX) {
    return EC_FAIL(EC_ERROR_DEVICE_MEMORY, "model '%s' is larger than an address space",
                   model->name);
  }
  cu_result result = CU_SUCCESS;
  void *staging = NULL;
  if (pool_bytes != 0) {
    result = driver->MemAlloc_v2(&memory->pool, (size_t)pool_bytes);
  }
  if (result == CU_SUCCESS && staging_bytes != 0) {
    result = driver->MemHostAlloc(&staging, (size_t)staging_bytes, 0);
  }
  if (result != CU_SUCCESS) {
    return ec_cu_status(driver, result, "make the memory of model", model->name);
  }
  memory->staging = staging;
  for (uint32_t i = 0; i < model->tensor_count; ++i) {
    if (memory->addresses[i] != 0) {
      memory->addresses[i] += memory->pool - 1;
    }
    memory->staged[i] -= memory->staged[i] != 0 ? 1 : 0;
  }
  return ec_cu_status(driver, copy_weights(driver, session, memory), "copy the weights of",
                      model->name);
}

void ec_cu_memory_release(const ec_cu_driver *driver, const ec_cu_memory *memory) {
  if (memory->staging != NULL) {
    (void)driver->MemFreeHost(memory->staging);
  }
  if (memory->pool != 0) {
    (void)driver->MemFree_v2(memory->pool);
  }
}
