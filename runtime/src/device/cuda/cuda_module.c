#include "device/cuda/cuda_module.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"
#include "device/cuda/cu.h"
#include "device/cuda/cu_status.h"
#include "device/cuda/cuda_choose.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

/* More than a message has room for. */
#define LOG_BYTES EC_MESSAGE_BYTES

ec_status ec_cu_load(const ec_cu_driver *driver, const ec_cu_device *device,
                     const ec_program *program, cu_module *out_module) {
  char log[LOG_BYTES] = "";
  unsigned options[] = {CU_JIT_ERROR_LOG, CU_JIT_ERROR_LOG_BYTES};
  void *values[] = {log,
                    (void *)(uintptr_t)(sizeof log - 1)}; /* numbers stand for themselves */
  cu_result result = driver->ModuleLoadDataEx(out_module, program->text, 2, options, values);
  log[sizeof log - 1] = '\0';
  switch (result) {
    case CU_NO_BINARY_FOR_GPU:
      return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                     "nothing in the model (%s) fits CUDA device '%s' of compute capability "
                     "%" PRIu32 ".%" PRIu32,
                     program->options, device->name, device->capability / 10,
                     device->capability % 10);
    case CU_INVALID_IMAGE:
    case CU_INVALID_PTX:
    case CU_JIT_COMPILER_NOT_FOUND:
    case CU_UNSUPPORTED_PTX_VERSION:
    case CU_JIT_COMPILATION_DISABLED:
      return EC_FAIL(EC_ERROR_DEVICE_BUILD,
                     "the driver of CUDA device '%s' does not take the kernels (%u): %s",
                     device->name, result, log);
    default:
      return ec_cu_status(driver, result, "load the kernels for", program->options);
  }
}

ec_status ec_cu_find(const ec_cu_driver *driver, const ec_cu_device *device, cu_module module,
                     const ec_launch *launch, cu_function *out_function) {
  int most_threads = 0;
  cu_result result = driver->ModuleGetFunction(out_function, module, launch->kernel);
  if (result == CU_SUCCESS) {
    result = driver->FuncGetAttribute(&most_threads, CU_FUNCTION_MAX_THREADS_PER_BLOCK,
                                      *out_function);
  }
  if (result != CU_SUCCESS) {
    return ec_cu_status(driver, result, "find kernel", launch->kernel);
  }
  uint32_t threads = 1; /* fits: the product is at most that of the work items */
  for (size_t d = 0; d < 3; ++d) {
    uint32_t blocks = launch->global_sizes[d] / launch->local_sizes[d];
    threads *= launch->local_sizes[d];
    if (launch->local_sizes[d] > device->most_threads[d] || blocks > device->most_blocks[d]) {
      return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                     "CUDA device '%s' does not start kernel '%s' with %" PRIu32
                     " blocks of %" PRIu32 " threads in dimension %zu",
                     device->name, launch->kernel, blocks, launch->local_sizes[d], d);
    }
  }
  if (most_threads <= 0 || threads > (uint32_t)most_threads) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "CUDA device '%s' runs kernel '%s' in blocks of at most %d threads, not "
                   "%" PRIu32,
                   device->name, launch->kernel, most_threads, threads);
  }
  return EC_OK;
}
