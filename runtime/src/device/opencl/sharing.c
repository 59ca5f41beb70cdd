#include "device/opencl/sharing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "device/opencl/buffers.h"
#include "device/opencl/cl.h"
#include "edgecomp/model.h"

static bool is_copy(const ec_call *call) {
  return call->device == EC_DEVICE_OPENCL && call->launch->kind != EC_LAUNCH_KERNEL;
}

static bool is_overlapping(const ec_tensor *a, const ec_tensor *b) {
  return a->offset_bytes < b->offset_bytes + b->bytes + EC_SLACK_BYTES &&
         b->offset_bytes < a->offset_bytes + a->bytes + EC_SLACK_BYTES;
}

/* Whether another tensor that is copied has some of a tensor's memory. */
static bool is_reused(const ec_model *model, uint32_t tensor) {
  for (uint32_t i = 0; i < model->call_count; ++i) {
    if (is_copy(&model->calls[i]) && model->calls[i].tensors[0] != tensor &&
        is_overlapping(&model->tensors[tensor], &model->tensors[model->calls[i].tensors[0]])) {
      return true;
    }
  }
  return false;
}

void ec_cl_find_shared(ec_cl_buffers *buffers, const ec_model *model) {
  for (uint32_t i = 0; buffers->device->shares_memory && i < model->call_count; ++i) {
    if (is_copy(&model->calls[i])) {
      uint32_t tensor = model->calls[i].tensors[0];
      buffers->is_shared[tensor] = is_reused(model, tensor) ? 0 : 1;
    }
  }
}

cl_int ec_cl_to_cpu(const ec_cl_buffers *buffers, const ec_model *model,
                    cl_command_queue queue, uint32_t tensor, cl_event *event) {
  if (buffers->is_shared[tensor] == 0 || buffers->mapped[tensor] != NULL ||
      buffers->tensors[tensor] == NULL) {
    return CL_SUCCESS;
  }
  cl_int result = CL_SUCCESS;
  size_t bytes = (size_t)(model->tensors[tensor].bytes + EC_SLACK_BYTES);
  void *place = buffers->driver->EnqueueMapBuffer(queue, buffers->tensors[tensor], 0,
                                                  CL_MAP_READ | CL_MAP_WRITE, 0, bytes, 0,
                                                  NULL, event, &result);
  if (result == CL_SUCCESS) {
    buffers->mapped[tensor] = place;
  }
  return result;
}

cl_int ec_cl_to_device(const ec_cl_buffers *buffers, cl_command_queue queue, uint32_t tensor,
                       cl_event *event) {
  if (buffers->mapped[tensor] == NULL) {
    return CL_SUCCESS;
  }
  cl_int result = buffers->driver->EnqueueUnmapMemObject(
      queue, buffers->tensors[tensor], buffers->mapped[tensor], 0, NULL, event);
  if (result == CL_SUCCESS) {
    buffers->mapped[tensor] = NULL;
  }
  return result;
}

cl_int ec_cl_all_to_cpu(const ec_cl_buffers *buffers, const ec_model *model,
                        cl_command_queue queue) {
  cl_int result = CL_SUCCESS;
  for (uint32_t i = 0; result == CL_SUCCESS && i < model->tensor_count; ++i) {
    result = ec_cl_to_cpu(buffers, model, queue, i, NULL);
  }
  return result;
}
