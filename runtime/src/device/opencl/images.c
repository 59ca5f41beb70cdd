#include "device/opencl/images.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/image.h"
#include "core/message.h"
#include "device/opencl/buffers.h"
#include "device/opencl/choose.h"
#include "device/opencl/cl.h"
#include "device/opencl/cl_status.h"
#include "device/opencl/driver.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"

static uint32_t image_count_of(const ec_call *call) {
  return call->device == EC_DEVICE_OPENCL ? call->launch->image_count : 0;
}

static const ec_tensor *tensor_of(const ec_model *model, const ec_call *call,
                                  const ec_image *image) {
  return &model->tensors[call->tensors[image->argument]];
}

uint32_t ec_cl_image_count(const ec_model *model) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    count += image_count_of(&model->calls[i]);
  }
  return count;
}

void ec_cl_images_begin(ec_cl_images *images, const ec_model *model) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    images->first[i] = count;
    count += image_count_of(&model->calls[i]);
  }
}

static ec_status check_size(const ec_cl_device *device, const ec_image *image,
                            const ec_tensor *tensor) {
  if (!device->has_images) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "OpenCL device '%s' has no images, and the kernels read '%s' as one",
                   device->name, tensor->name);
  }
  if (image->width > device->most_image_width || image->height > device->most_image_height) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "OpenCL device '%s' has images of at most %zu x %zu texels, the kernels "
                   "read '%s' as one of %" PRIu32 " x %" PRIu32,
                   device->name, device->most_image_width, device->most_image_height,
                   tensor->name, image->width, image->height);
  }
  return EC_OK;
}

ec_status ec_cl_images_check(const ec_cl_device *device, const ec_model *model) {
  ec_status status = EC_OK;
  for (uint32_t i = 0; status == EC_OK && i < model->call_count; ++i) {
    const ec_call *call = &model->calls[i];
    for (uint32_t k = 0; status == EC_OK && k < image_count_of(call); ++k) {
      const ec_image *image = &call->launch->images[k];
      status = check_size(device, image, tensor_of(model, call, image));
    }
  }
  return status;
}

static cl_image_format format_of(uint32_t dtype) {
  cl_image_format format = {CL_RGBA, CL_FLOAT};
  switch (dtype) { /* what core/launch_check.c lets through */
    case EC_DTYPE_FLOAT16:
      format.image_channel_data_type = CL_HALF_FLOAT;
      break;
    case EC_DTYPE_INT8:
      format.image_channel_data_type = CL_SIGNED_INT8;
      break;
    case EC_DTYPE_UINT8:
      format.image_channel_data_type = CL_UNSIGNED_INT8;
      break;
    case EC_DTYPE_INT32:
      format.image_channel_data_type = CL_SIGNED_INT32;
      break;
    case EC_DTYPE_UINT16:
      format.image_channel_data_type = CL_UNSIGNED_INT16;
      break;
    default:
      break;
  }
  return format;
}

/* Whether a device makes an image over memory that begins at an address or, in a buffer of the
 * device's own, at an offset. */
static bool fits_buffer(const ec_cl_device *device, const ec_image *image,
                        const ec_tensor *tensor, uintptr_t at) {
  uint64_t texel_bytes = ec_image_row_bytes(image, tensor) / image->width;
  return device->image_row_texels != 0 && image->width % device->image_row_texels == 0 &&
         at % (texel_bytes * device->image_base_texels) == 0;
}

/* Where the tensor's memory is, as far as the device's alignment is concerned: a buffer of its
 * own is aligned to anything. */
static uintptr_t place_of(const ec_cl_buffers *buffers, const ec_device_context *session,
                          uint32_t index) {
  const ec_tensor *tensor = &session->model->tensors[index];
  size_t offset = (size_t)tensor->offset_bytes;
  if (tensor->storage == EC_STORAGE_WEIGHTS) {
    return buffers->device->shares_memory ? (uintptr_t)session->weights + offset : 0;
  }
  if (buffers->is_shared[index] != 0) {
    return (uintptr_t)session->arena + offset;
  }
  return ec_cl_is_part(buffers, session->model, tensor) ? offset : 0;
}

static cl_mem create(const ec_cl_buffers *buffers, const ec_image *image,
                     const ec_tensor *tensor, cl_bitfield flags, cl_mem buffer,
                     const uint8_t *contents, cl_int *out_result) {
  const cl_image_format format = format_of(tensor->dtype);
  cl_image_desc desc = {.image_type = CL_MEM_OBJECT_IMAGE2D,
                        .image_width = image->width,
                        .image_height = image->height,
                        .buffer = buffer};
  if (buffer != NULL) {
    desc.image_row_pitch = (size_t)ec_image_row_bytes(image, tensor);
  }
  /* OpenCL takes a pointer without const and only reads through it here. */
  return buffers->driver->CreateImage(buffers->context, flags, &format, &desc,
                                      (void *)(uintptr_t)contents, out_result);
}

/* Make an image: over the tensor's buffer, from the weights, or to be filled. */
static ec_status make(ec_cl_buffers *buffers, const ec_device_context *session,
                      const ec_image *image, uint32_t index, ec_cl_image *out) {
  const ec_tensor *tensor = &session->model->tensors[index];
  bool is_weights = tensor->storage == EC_STORAGE_WEIGHTS;
  cl_int result = CL_SUCCESS;
  if (fits_buffer(buffers->device, image, tensor, place_of(buffers, session, index))) {
    ec_status status = ec_cl_buffer_make(buffers, session, index);
    if (status != EC_OK) {
      return status;
    }
    out->image = create(buffers, image, tensor, CL_MEM_READ_ONLY, buffers->tensors[index],
                        NULL, &result);
    if (result != CL_SUCCESS) {
      out->image = NULL; /* a driver may refuse memory that is not its own */
    }
  }
  if (out->image == NULL && is_weights) {
    out->image = create(buffers, image, tensor, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, NULL,
                        session->weights + (size_t)tensor->offset_bytes, &result);
  } else if (out->image == NULL) {
    out->is_filled = true;
    out->image = create(buffers, image, tensor, CL_MEM_READ_ONLY, NULL, NULL, &result);
  }
  if (result != CL_SUCCESS) {
    out->image = NULL;
    return ec_cl_status(result, "make the image of tensor", tensor->name);
  }
  out->is_owned = true;
  return EC_OK;
}

/* The image that an earlier call made of the same tensor; NULL for none. */
static const ec_cl_image *find_made(const ec_cl_images *images, const ec_model *model,
                                    const ec_image *wanted, uint32_t index,
                                    uint32_t call_count) {
  for (uint32_t i = 0; i < call_count; ++i) {
    const ec_call *call = &model->calls[i];
    for (uint32_t k = 0; k < image_count_of(call); ++k) {
      const ec_image *image = &call->launch->images[k];
      if (call->tensors[image->argument] == index && image->width == wanted->width &&
          image->height == wanted->height &&
          images->made[images->first[i] + k].image != NULL) {
        return &images->made[images->first[i] + k];
      }
    }
  }
  return NULL;
}

ec_status ec_cl_images_make(const ec_cl_images *images, ec_cl_buffers *buffers,
                            const ec_device_context *session, uint32_t call_index) {
  const ec_model *model = session->model;
  const ec_call *call = &model->calls[call_index];
  ec_status status = EC_OK;
  for (uint32_t k = 0; status == EC_OK && k < image_count_of(call); ++k) {
    const ec_image *image = &call->launch->images[k];
    uint32_t index = call->tensors[image->argument];
    ec_cl_image *out = &images->made[images->first[call_index] + k];
    const ec_cl_image *known = find_made(images, model, image, index, call_index);
    if (known != NULL) {
      *out = *known;
      out->is_owned = false;
    } else {
      status = make(buffers, session, image, index, out);
    }
  }
  for (uint32_t i = 0; status == EC_OK && i < call->pointer_count; ++i) {
    const ec_cl_image *image = ec_cl_image_of(images, model, call_index, i);
    if (image == NULL || image->is_filled) {
      status = ec_cl_buffer_make(buffers, session, call->tensors[i]);
    }
  }
  return status;
}

const ec_cl_image *ec_cl_image_of(const ec_cl_images *images, const ec_model *model,
                                  uint32_t call_index, uint32_t argument) {
  const ec_call *call = &model->calls[call_index];
  for (uint32_t k = 0; k < image_count_of(call); ++k) {
    if (call->launch->images[k].argument == argument) {
      return &images->made[images->first[call_index] + k];
    }
  }
  return NULL;
}

/* From the whole of which the tensor's buffer is a part: PoCL 3.1 ends the process where such
 * a copy is asked of a part. */
static cl_int fill(const ec_cl_buffers *buffers, const ec_model *model, cl_command_queue queue,
                   const ec_image *image, uint32_t index, cl_mem into) {
  const size_t origin[] = {0, 0, 0};
  const size_t region[] = {image->width, image->height, 1};
  const ec_tensor *tensor = &model->tensors[index];
  bool is_part = buffers->is_shared[index] == 0 && ec_cl_is_part(buffers, model, tensor);
  return buffers->driver->EnqueueCopyBufferToImage(
      queue, is_part ? buffers->arena : buffers->tensors[index], into,
      is_part ? (size_t)tensor->offset_bytes : 0, origin, region, 0, NULL, NULL);
}

cl_int ec_cl_images_fill(const ec_cl_images *images, const ec_cl_buffers *buffers,
                         const ec_model *model, cl_command_queue queue, uint32_t call_index) {
  const ec_call *call = &model->calls[call_index];
  cl_int result = CL_SUCCESS;
  for (uint32_t k = 0; result == CL_SUCCESS && k < image_count_of(call); ++k) {
    const ec_image *image = &call->launch->images[k];
    const ec_cl_image *made = &images->made[images->first[call_index] + k];
    if (made->is_filled) {
      result = fill(buffers, model, queue, image, call->tensors[image->argument], made->image);
    }
  }
  return result;
}

void ec_cl_images_release(const ec_cl_images *images, const ec_cl_driver *driver,
                          uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    if (images->made[i].is_owned) {
      (void)driver->ReleaseMemObject(images->made[i].image);
    }
  }
}
