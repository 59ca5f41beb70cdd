#include "core/launch_check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "core/image.h"
#include "core/message.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

static bool is_device(uint32_t device) {
  return device != EC_DEVICE_CPU && device < EC_DEVICE_COUNT;
}

static uint32_t format_of(uint32_t device) {
  return device == EC_DEVICE_CUDA ? EC_PROGRAM_CUDA_FATBIN : EC_PROGRAM_OPENCL_C;
}

static bool is_program(const ec_program *program) {
  return program->text != NULL && program->options != NULL && program->extensions != NULL &&
         is_device(program->device) && program->format == format_of(program->device) &&
         program->reserved == 0 && program->text_bytes != 0 &&
         program->text_bytes < SIZE_MAX && program->text[program->text_bytes] == '\0';
}

ec_status ec_programs_check(const ec_model *model) {
  if (model->programs == NULL && model->program_count != 0) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "model '%s' lacks its programs", model->name);
  }
  for (uint32_t i = 0; i < model->program_count; ++i) {
    if (!is_program(&model->programs[i])) {
      return EC_FAIL(EC_ERROR_DESCRIPTOR, "program %" PRIu32 " of '%s' is malformed", i,
                     model->name);
    }
  }
  return EC_OK;
}

/* Work items come in whole groups, and their number fits 32 bits. */
static bool has_sizes(const ec_launch *launch) {
  uint64_t items = 1;
  for (size_t d = 0; d < sizeof launch->global_sizes / sizeof launch->global_sizes[0]; ++d) {
    uint32_t global = launch->global_sizes[d];
    uint32_t local = launch->local_sizes[d];
    if (local == 0 || global == 0 || global % local != 0 || items > UINT32_MAX / global) {
      return false;
    }
    items *= global;
  }
  return true;
}

/* Whether images have channels of an element type. */
static bool is_channel(uint32_t dtype) {
  return dtype == EC_DTYPE_FLOAT32 || dtype == EC_DTYPE_FLOAT16 || dtype == EC_DTYPE_INT8 ||
         dtype == EC_DTYPE_UINT8 || dtype == EC_DTYPE_INT32 || dtype == EC_DTYPE_UINT16;
}

/* Rows begin inside the tensor and end inside its storage. */
static bool is_image(const ec_model *model, const ec_call *call, const ec_image *image) {
  if (image->argument >= call->pointer_count || image->width == 0 || image->height == 0 ||
      image->reserved != 0) {
    return false;
  }
  const ec_tensor *tensor = &model->tensors[call->tensors[image->argument]];
  uint64_t room =
      tensor->storage == EC_STORAGE_WEIGHTS ? model->weights_bytes : model->arena_bytes;
  uint64_t row_bytes = ec_image_row_bytes(image, tensor);
  uint64_t end = 0;
  return is_channel(tensor->dtype) && ec_multiply(image->height, row_bytes, &end) &&
         end - row_bytes < tensor->bytes && ec_add(tensor->offset_bytes, end, &end) &&
         end <= room;
}

static bool has_images(const ec_model *model, const ec_call *call) {
  const ec_launch *launch = call->launch;
  if (launch->image_count != 0 &&
      (launch->images == NULL || call->device != EC_DEVICE_OPENCL)) {
    return false;
  }
  for (uint32_t i = 0; i < launch->image_count; ++i) {
    const ec_image *image = &launch->images[i];
    if (!is_image(model, call, image) ||
        (i != 0 && image->argument <= launch->images[i - 1].argument)) {
      return false;
    }
  }
  return true;
}

static bool is_kernel(const ec_model *model, const ec_call *call) {
  const ec_launch *launch = call->launch;
  return launch->program < model->program_count &&
         model->programs[launch->program].device == call->device && launch->kernel != NULL &&
         launch->kernel[0] != '\0' && launch->constant_count <= EC_MAX_LAUNCH_CONSTANTS &&
         (launch->constants != NULL || launch->constant_count == 0) && has_sizes(launch) &&
         has_images(model, call);
}

static bool is_copy(const ec_model *model, const ec_call *call) {
  const ec_launch *launch = call->launch;
  bool is_sized = false;
  for (size_t d = 0; d < sizeof launch->global_sizes / sizeof launch->global_sizes[0]; ++d) {
    is_sized = is_sized || launch->global_sizes[d] != 0 || launch->local_sizes[d] != 0;
  }
  return !is_sized && launch->program == 0 && launch->kernel == NULL &&
         launch->constant_count == 0 && launch->image_count == 0 && call->pointer_count == 1 &&
         model->tensors[call->tensors[0]].storage == EC_STORAGE_ARENA;
}

static bool is_launch(const ec_model *model, const ec_call *call) {
  if (call->strip != 0 || call->workspace_bytes != 0) {
    return false;
  }
  switch (call->launch->kind) {
    case EC_LAUNCH_KERNEL:
      return is_kernel(model, call);
    case EC_LAUNCH_TO_DEVICE:
    case EC_LAUNCH_FROM_DEVICE:
      return is_copy(model, call);
    default:
      return false;
  }
}

ec_status ec_launch_check(const ec_model *model, uint32_t index) {
  const ec_call *call = &model->calls[index];
  bool is_good = call->device == EC_DEVICE_CPU
                     ? call->launch == NULL
                     : call->launch != NULL && is_launch(model, call);
  if (!is_good) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "call %" PRIu32 " (%s) for device %" PRIu32 " has no launch that fits it",
                   index, call->operator_name, call->device);
  }
  return EC_OK;
}
