#include "device/cuda/cuda_calls.h"

#include <stddef.h>
#include <stdint.h>

#include "device/cuda/cu.h"
#include "device/cuda/cu_status.h"
#include "device/cuda/cuda_state.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/sizes.h"

static cu_result run_kernel(const ec_cu_state *state, uint32_t index) {
  const ec_call *call = &state->session.model->calls[index];
  const ec_launch *launch = call->launch;
  const uint32_t *local = launch->local_sizes;
  const ec_sizes *sizes = state->session.sizes;
  const ec_dynamic_call *dynamic = ec_sizes_of_launch(sizes, index);
  uint32_t groups[3];
  if (!ec_sizes_groups(sizes, state->session.model, index, groups)) {
    return CU_SUCCESS;
  }
  void *arguments[EC_MAX_KERNEL_POINTERS + EC_MAX_LAUNCH_CONSTANTS];
  uint32_t count = 0;
  for (uint32_t i = 0; i < call->pointer_count; ++i) {
    arguments[count++] = &state->memory.addresses[call->tensors[i]];
  }
  for (uint32_t i = 0; i < launch->constant_count; ++i) {
    /* CUDA takes pointers without const and only reads through them. */
    arguments[count++] = (void *)(uintptr_t)&launch->constants[i];
  }
  for (uint32_t i = 0; dynamic != NULL && i < dynamic->size_count; ++i) {
    arguments[count++] = &sizes->sizes[sizes->first_size[index] + i];
  }
  return state->driver.LaunchKernel(state->functions[index], groups[0], groups[1], groups[2],
                                    local[0], local[1], local[2], 0, state->stream, arguments,
                                    NULL);
}

/* Between the device's memory and the pinned one. */
static cu_result run_copy(const ec_cu_state *state, uint32_t index) {
  const ec_call *call = &state->session.model->calls[index];
  uint32_t number = call->tensors[0];
  size_t bytes = (size_t)ec_sizes_copied(state->session.sizes, state->session.model, index);
  uint8_t *place = state->memory.staging + state->memory.staged[number];
  cu_address address = state->memory.addresses[number];
  if (bytes == 0) {
    return CU_SUCCESS;
  }
  return call->launch->kind == EC_LAUNCH_TO_DEVICE
             ? state->driver.MemcpyHtoDAsync_v2(address, place, bytes, state->stream)
             : state->driver.MemcpyDtoHAsync_v2(place, address, bytes, state->stream);
}

ec_status ec_cu_enqueue(const ec_cu_state *state, uint32_t index) {
  const ec_model *model = state->session.model;
  const ec_call *call = &model->calls[index];
  if (call->launch->kind == EC_LAUNCH_KERNEL) {
    return ec_cu_status(&state->driver, run_kernel(state, index), "run kernel",
                        call->launch->kernel);
  }
  return ec_cu_status(&state->driver, run_copy(state, index), "copy tensor",
                      model->tensors[call->tensors[0]].name);
}
