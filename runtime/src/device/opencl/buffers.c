#include "device/opencl/buffers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "core/image.h"
#include "device/opencl/choose.h"
#include "device/opencl/cl.h"
#include "device/opencl/cl_status.h"
#include "device/opencl/driver.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"

/* Contents and slack, or the rows of images of the tensor; they fit: the descriptor is
 * checked.
 */
static size_t bytes_of(const ec_model *model, uint32_t index) {
  const ec_tensor *tensor = &model->tensors[index];
  uint64_t most = tensor->bytes + EC_SLACK_BYTES;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    const ec_call *call = &model->calls[i];
    uint32_t count = call->launch != NULL ? call->launch->image_count : 0;
    for (uint32_t k = 0; k < count; ++k) {
      const ec_image *image = &call->launch->images[k];
      uint64_t bytes = ec_image_bytes(image, tensor);
      if (call->tensors[image->argument] == index && bytes > most) {
        most = bytes;
      }
    }
  }
  return (size_t)most;
}

/* Over memory of the session's, which the device uses in place. */
static cl_mem make_over(const ec_cl_buffers *buffers, cl_bitfield flags, const uint8_t *memory,
                        size_t bytes, cl_int *out_result) {
  /* OpenCL takes pointers without const and only reads through those that are read only. */
  return buffers->driver->CreateBuffer(buffers->context, flags | CL_MEM_USE_HOST_PTR, bytes,
                                       (void *)(uintptr_t)memory, out_result);
}

static cl_mem make_weights(const ec_cl_buffers *buffers, const ec_device_context *session,
                           uint32_t index, cl_int *out_result) {
  const ec_tensor *tensor = &session->model->tensors[index];
  const uint8_t *contents = session->weights + (size_t)tensor->offset_bytes;
  size_t bytes = bytes_of(session->model, index);
  if (buffers->device->shares_memory) {
    cl_mem made = make_over(buffers, CL_MEM_READ_ONLY, contents, bytes, out_result);
    if (*out_result == CL_SUCCESS) {
      return made;
    } /* a driver may refuse memory that is mapped from a file */
  }
  return buffers->driver->CreateBuffer(buffers->context,
                                       CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, bytes,
                                       (void *)(uintptr_t)contents, out_result);
}

static cl_mem make_alone(const ec_cl_buffers *buffers, size_t bytes, cl_int *out_result) {
  return buffers->driver->CreateBuffer(buffers->context, CL_MEM_READ_WRITE, bytes, NULL,
                                       out_result);
}

bool ec_cl_is_part(const ec_cl_buffers *buffers, const ec_model *model,
                   const ec_tensor *tensor) {
  return model->arena_bytes <= buffers->device->largest_bytes &&
         tensor->offset_bytes % buffers->device->alignment_bytes == 0;
}

static cl_mem make_part(ec_cl_buffers *buffers, const ec_model *model, uint32_t index,
                        cl_int *out_result) {
  size_t offset = (size_t)model->tensors[index].offset_bytes;
  *out_result = CL_SUCCESS;
  if (buffers->arena == NULL) {
    buffers->arena = make_alone(buffers, (size_t)model->arena_bytes, out_result);
  }
  if (*out_result != CL_SUCCESS) {
    return NULL;
  }
  cl_buffer_region region = {offset, bytes_of(model, index)};
  return buffers->driver->CreateSubBuffer(buffers->arena, CL_MEM_READ_WRITE,
                                          CL_BUFFER_CREATE_TYPE_REGION, &region, out_result);
}

ec_status ec_cl_buffer_make(ec_cl_buffers *buffers, const ec_device_context *session,
                            uint32_t index) {
  const ec_tensor *tensor = &session->model->tensors[index];
  if (buffers->tensors[index] != NULL) {
    return EC_OK;
  }
  const ec_model *model = session->model;
  cl_int result = CL_SUCCESS;
  cl_mem made = NULL;
  if (tensor->storage == EC_STORAGE_WEIGHTS) {
    made = make_weights(buffers, session, index, &result);
  } else if (buffers->is_shared[index] != 0) {
    made = make_over(buffers, CL_MEM_READ_WRITE, session->arena + (size_t)tensor->offset_bytes,
                     bytes_of(model, index), &result);
  } else if (ec_cl_is_part(buffers, model, tensor)) {
    made = make_part(buffers, model, index, &result);
  } else {
    made = make_alone(buffers, bytes_of(model, index), &result);
  }
  if (result != CL_SUCCESS) {
    return ec_cl_status(result, "make the buffer of tensor", tensor->name);
  }
  buffers->tensors[index] = made;
  return EC_OK;
}

void ec_cl_buffers_release(ec_cl_buffers *buffers, uint32_t tensor_count) {
  for (uint32_t i = 0; i < tensor_count; ++i) {
    if (buffers->tensors[i] != NULL) {
      (void)buffers->driver->ReleaseMemObject(buffers->tensors[i]);
    }
  }
  if (buffers->arena != NULL) {
    (void)buffers->driver->ReleaseMemObject(buffers->arena);
  }
}
