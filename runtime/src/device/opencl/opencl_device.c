/* The OpenCL back end: one queue that makes calls in their order; the CPU waits once, where a
 * run of calls for the device ends. */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/message.h"
#include "device/backends.h"
#include "device/opencl/buffers.h"
#include "device/opencl/choose.h"
#include "device/opencl/cl.h"
#include "device/opencl/cl_status.h"
#include "device/opencl/driver.h"
#include "device/opencl/images.h"
#include "device/opencl/program.h"
#include "device/opencl/program_cache.h"
#include "device/opencl/sharing.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"
#include "exec/sizes.h"

#define DIMENSIONS 3

/* Followed in memory by one cl_mem and one address for each tensor, one cl_program for each
 * program, one cl_kernel for each call, NULL where there is none, what is made for each image
 * of a call, the number of each call's first one, and a byte for each tensor. */
typedef struct opencl_state {
  ec_device_context session;
  ec_cl_driver driver;
  ec_cl_device device;
  cl_context context;
  cl_command_queue queue;
  cl_command_queue measured_queue; /* for profiles: events with times slow some drivers down */
  ec_cl_buffers buffers;
  ec_cl_images images;
  cl_program *programs;
  cl_kernel *kernels;
  void *table[];
} opencl_state;

static ec_status opencl_probe(const ec_model *model, const ec_open_options *options) {
  ec_cl_driver driver;
  ec_cl_device device;
  ec_status status = ec_cl_cache_check(options->device_cache);
  if (status == EC_OK) {
    status = ec_cl_driver_load(&driver);
  }
  return status == EC_OK ? ec_cl_choose(&driver, model, options, &device) : status;
}

static uint64_t opencl_state_bytes(const ec_model *model) {
  return sizeof(opencl_state) +
         (2 * (uint64_t)model->tensor_count + model->program_count + model->call_count) *
             sizeof(void *) +
         ec_cl_image_count(model) * sizeof(ec_cl_image) +
         model->call_count * sizeof(uint32_t) + model->tensor_count;
}

static void opencl_close(void *opaque) {
  opencl_state *state = opaque;
  const ec_cl_driver *driver = &state->driver;
  const ec_model *model = state->session.model;
  if (state->queue != NULL) {
    for (uint32_t i = 0; i < model->tensor_count; ++i) {
      (void)ec_cl_to_device(&state->buffers, state->queue, i, NULL); /* no map is left */
    }
    (void)driver->Finish(state->queue);
  }
  for (uint32_t i = 0; i < model->call_count; ++i) {
    if (state->kernels[i] != NULL) {
      (void)driver->ReleaseKernel(state->kernels[i]);
    }
  }
  for (uint32_t i = 0; i < model->program_count; ++i) {
    if (state->programs[i] != NULL) {
      (void)driver->ReleaseProgram(state->programs[i]);
    }
  }
  ec_cl_images_release(&state->images, driver, ec_cl_image_count(model));
  ec_cl_buffers_release(&state->buffers, model->tensor_count);
  if (state->measured_queue != NULL) {
    (void)driver->ReleaseCommandQueue(state->measured_queue);
  }
  if (state->queue != NULL) {
    (void)driver->ReleaseCommandQueue(state->queue);
  }
  if (state->context != NULL) {
    (void)driver->ReleaseContext(state->context);
  }
}

static void place_tables(opencl_state *state, const ec_model *model) {
  /* The block is zeroed: all are NULL. Each entry is a pointer of its type. */
  state->buffers.tensors = (cl_mem *)(uintptr_t)&state->table[0];
  void **next = &state->table[model->tensor_count];
  state->buffers.mapped = next;
  next += model->tensor_count;
  state->programs = (cl_program *)(uintptr_t)next;
  next += model->program_count;
  state->kernels = (cl_kernel *)(uintptr_t)next;
  next += model->call_count;
  state->images.made = (ec_cl_image *)(uintptr_t)next;
  state->images.first = (uint32_t *)(uintptr_t)(state->images.made + ec_cl_image_count(model));
  state->buffers.is_shared = (uint8_t *)(state->images.first + model->call_count);
  ec_cl_images_begin(&state->images, model);
}

static ec_status open_queues(opencl_state *state) {
  const ec_cl_driver *driver = &state->driver;
  cl_int result = CL_SUCCESS;
  state->context = driver->CreateContext(NULL, 1, &state->device.id, NULL, NULL, &result);
  if (result == CL_SUCCESS) {
    state->queue = driver->CreateCommandQueue(state->context, state->device.id, 0, &result);
  }
  if (result == CL_SUCCESS) {
    state->measured_queue = driver->CreateCommandQueue(state->context, state->device.id,
                                                       CL_QUEUE_PROFILING_ENABLE, &result);
  }
  return ec_cl_status(result, "open device", state->device.name);
}

static ec_status build_programs(opencl_state *state) {
  const ec_model *model = state->session.model;
  const char *cache = state->session.options->device_cache;
  ec_status status = EC_OK;
  for (uint32_t i = 0; status == EC_OK && i < model->program_count; ++i) {
    if (model->programs[i].device == EC_DEVICE_OPENCL) {
      status = ec_cl_build(&state->driver, state->context, &state->device, &model->programs[i],
                           cache, &state->programs[i]);
    }
  }
  return status;
}

static ec_status opencl_open(const ec_device_context *context, void *opaque) {
  opencl_state *state = opaque;
  state->session = *context;
  place_tables(state, context->model);
  ec_status status = ec_cl_driver_load(&state->driver);
  if (status == EC_OK) {
    status = ec_cl_choose(&state->driver, context->model, context->options, &state->device);
  }
  if (status != EC_OK) {
    return status;
  }
  status = open_queues(state);
  state->buffers.driver = &state->driver;
  state->buffers.device = &state->device;
  state->buffers.context = state->context;
  ec_cl_find_shared(&state->buffers, context->model);
  if (status == EC_OK) {
    status = build_programs(state);
  }
  if (status != EC_OK) {
    opencl_close(state);
  }
  return status;
}

/* What the driver says about a compiled kernel fits the call. */
static ec_status check_kernel(const opencl_state *state, uint32_t index) {
  const ec_call *call = &state->session.model->calls[index];
  const ec_launch *launch = call->launch;
  cl_kernel kernel = state->kernels[index];
  cl_uint arguments = 0;
  size_t most_items = 0;
  cl_int result = state->driver.GetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof arguments,
                                              &arguments, NULL);
  if (result == CL_SUCCESS) {
    result = state->driver.GetKernelWorkGroupInfo(kernel, state->device.id,
                                                  CL_KERNEL_WORK_GROUP_SIZE, sizeof most_items,
                                                  &most_items, NULL);
  }
  if (result != CL_SUCCESS) {
    return ec_cl_status(result, "describe kernel", launch->kernel);
  }
  const ec_dynamic_call *dynamic = ec_sizes_of_launch(state->session.sizes, index);
  uint32_t given = call->pointer_count + launch->constant_count +
                   (dynamic != NULL ? dynamic->size_count : 0);
  if (arguments != given) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR,
                   "kernel '%s' takes %u arguments, call %" PRIu32 " has %" PRIu32,
                   launch->kernel, (unsigned)arguments, index, given);
  }
  size_t items = (size_t)launch->local_sizes[0] * launch->local_sizes[1] *
                 launch->local_sizes[2]; /* fits: their product is at most the work items */
  if (items > most_items) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "OpenCL device '%s' runs kernel '%s' in groups of at most %zu work items, "
                   "not %zu",
                   state->device.name, launch->kernel, most_items, items);
  }
  return EC_OK;
}

static ec_status set_arguments(const opencl_state *state, uint32_t index) {
  const ec_call *call = &state->session.model->calls[index];
  const ec_launch *launch = call->launch;
  cl_kernel kernel = state->kernels[index];
  cl_int result = CL_SUCCESS;
  for (uint32_t i = 0; result == CL_SUCCESS && i < call->pointer_count; ++i) {
    const ec_cl_image *image = ec_cl_image_of(&state->images, state->session.model, index, i);
    result = state->driver.SetKernelArg(
        kernel, i, sizeof(cl_mem),
        image != NULL ? &image->image : &state->buffers.tensors[call->tensors[i]]);
  }
  for (uint32_t i = 0; result == CL_SUCCESS && i < launch->constant_count; ++i) {
    result = state->driver.SetKernelArg(kernel, call->pointer_count + i, sizeof(int32_t),
                                        &launch->constants[i]);
  }
  return ec_cl_status(result, "take the arguments of kernel", launch->kernel);
}

/* The sizes of this run, behind the other arguments. */
static cl_int set_sizes(const opencl_state *state, uint32_t index) {
  const ec_sizes *sizes = state->session.sizes;
  const ec_dynamic_call *dynamic = ec_sizes_of_launch(sizes, index);
  const ec_call *call = &state->session.model->calls[index];
  cl_int result = CL_SUCCESS;
  for (uint32_t i = 0; dynamic != NULL && result == CL_SUCCESS && i < dynamic->size_count;
       ++i) {
    result = state->driver.SetKernelArg(
        state->kernels[index], call->pointer_count + call->launch->constant_count + i,
        sizeof(int32_t), &sizes->sizes[sizes->first_size[index] + i]);
  }
  return result;
}

static ec_status opencl_sync(void *opaque) {
  const opencl_state *state = opaque;
  cl_int result = ec_cl_all_to_cpu(&state->buffers, state->session.model, state->queue);
  cl_int finished = state->driver.Finish(state->queue); /* also after a failure */
  return ec_cl_status(result != CL_SUCCESS ? result : finished, "finish the calls of model",
                      state->session.model->name);
}

static ec_status opencl_prepare(void *opaque, uint32_t index) {
  opencl_state *state = opaque;
  const ec_call *call = &state->session.model->calls[index];
  ec_status status =
      ec_cl_images_make(&state->images, &state->buffers, &state->session, index);
  if (status == EC_OK) { /* the CPU fills the inputs, which are its only once that is done */
    status = opencl_sync(state);
  }
  if (status != EC_OK || call->launch->kind != EC_LAUNCH_KERNEL) {
    return status;
  }
  cl_int result = CL_SUCCESS;
  state->kernels[index] = state->driver.CreateKernel(state->programs[call->launch->program],
                                                     call->launch->kernel, &result);
  status = ec_cl_status(result, "find kernel", call->launch->kernel);
  if (status == EC_OK) {
    status = check_kernel(state, index);
  }
  return status == EC_OK ? set_arguments(state, index) : status;
}

/* Copies wait for nothing: the arena stays as it is until sync. */
static cl_int copy(const opencl_state *state, cl_command_queue queue, uint32_t index,
                   cl_event *event) {
  const ec_model *model = state->session.model;
  const ec_call *call = &model->calls[index];
  uint32_t number = call->tensors[0];
  const ec_tensor *tensor = &model->tensors[number];
  cl_mem buffer = state->buffers.tensors[number];
  uint8_t *host = state->session.arena + (size_t)tensor->offset_bytes;
  size_t bytes = (size_t)ec_sizes_copied(state->session.sizes, model, index);
  bool is_to_device = call->launch->kind == EC_LAUNCH_TO_DEVICE;
  if (state->buffers.is_shared[number] != 0) {
    return is_to_device ? ec_cl_to_device(&state->buffers, queue, number, event)
                        : ec_cl_to_cpu(&state->buffers, model, queue, number, event);
  }
  if (bytes == 0) {
    return CL_SUCCESS;
  }
  return is_to_device ? state->driver.EnqueueWriteBuffer(queue, buffer, 0, 0, bytes, host, 0,
                                                         NULL, event)
                      : state->driver.EnqueueReadBuffer(queue, buffer, 0, 0, bytes, host, 0,
                                                        NULL, event);
}

static cl_int run_kernel(const opencl_state *state, cl_command_queue queue, uint32_t index,
                         cl_event *event) {
  const ec_call *call = &state->session.model->calls[index];
  const ec_launch *launch = call->launch;
  size_t global[DIMENSIONS];
  size_t local[DIMENSIONS];
  uint32_t groups[DIMENSIONS];
  if (!ec_sizes_groups(state->session.sizes, state->session.model, index, groups)) {
    return CL_SUCCESS;
  }
  for (size_t d = 0; d < DIMENSIONS; ++d) {
    local[d] = launch->local_sizes[d];
    global[d] = groups[d] * local[d];
  }
  cl_int result = set_sizes(state, index);
  for (uint32_t i = 0; result == CL_SUCCESS && i < call->pointer_count; ++i) {
    result = ec_cl_to_device(&state->buffers, queue, call->tensors[i], NULL); /* results */
  }
  if (result == CL_SUCCESS) {
    result =
        ec_cl_images_fill(&state->images, &state->buffers, state->session.model, queue, index);
  }
  if (result != CL_SUCCESS) {
    return result;
  }
  return state->driver.EnqueueNDRangeKernel(queue, state->kernels[index], DIMENSIONS, NULL,
                                            global, local, 0, NULL, event);
}

static ec_status enqueue(const opencl_state *state, cl_command_queue queue, uint32_t index,
                         cl_event *event) {
  const ec_call *call = &state->session.model->calls[index];
  if (call->launch->kind == EC_LAUNCH_KERNEL) {
    return ec_cl_status(run_kernel(state, queue, index, event), "run kernel",
                        call->launch->kernel);
  }
  return ec_cl_status(copy(state, queue, index, event), "copy tensor",
                      state->session.model->tensors[call->tensors[0]].name);
}

static ec_status opencl_launch(void *state, uint32_t index) {
  const opencl_state *of = state;
  return enqueue(of, of->queue, index, NULL);
}

/* Nanoseconds between begin and end of what an event stands for. */
static cl_int read_time(const opencl_state *state, cl_event event, uint64_t *out_ns) {
  cl_ulong start = 0;
  cl_ulong end = 0;
  cl_int result = state->driver.GetEventProfilingInfo(event, CL_PROFILING_COMMAND_START,
                                                      sizeof start, &start, NULL);
  if (result == CL_SUCCESS) {
    result = state->driver.GetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof end,
                                                 &end, NULL);
  }
  if (result == CL_SUCCESS) {
    *out_ns = end > start ? end - start : 0;
  }
  return result;
}

static ec_status opencl_profile(void *opaque, uint32_t index, uint64_t *out_ns) {
  const opencl_state *state = opaque;
  cl_event event = NULL;
  ec_status status = enqueue(state, state->measured_queue, index, &event);
  if (status != EC_OK) {
    return status;
  }
  /* No sync follows the last call of a profile. */
  cl_int result =
      state->session.model->calls[index].launch->kind == EC_LAUNCH_FROM_DEVICE
          ? ec_cl_all_to_cpu(&state->buffers, state->session.model, state->measured_queue)
          : CL_SUCCESS;
  cl_int finished = state->driver.Finish(state->measured_queue);
  result = result != CL_SUCCESS ? result : finished;
  *out_ns = 0;
  if (event != NULL) { /* a copy that is not needed has none */
    if (result == CL_SUCCESS) {
      result = read_time(state, event, out_ns);
    }
    (void)state->driver.ReleaseEvent(event);
  }
  return ec_cl_status(result, "measure a call of model", state->session.model->name);
}

/* A tensor that is shared is the arena's since the last sync. */
static ec_status opencl_fetch(void *opaque, uint32_t index) {
  const opencl_state *state = opaque;
  const ec_tensor *tensor = &state->session.model->tensors[index];
  if (state->buffers.is_shared[index] != 0 || tensor->bytes == 0) {
    return EC_OK;
  }
  uint8_t *host = state->session.arena + (size_t)tensor->offset_bytes;
  cl_int result =
      state->driver.EnqueueReadBuffer(state->queue, state->buffers.tensors[index], 0, 0,
                                      (size_t)tensor->bytes, host, 0, NULL, NULL);
  cl_int finished = state->driver.Finish(state->queue);
  return ec_cl_status(result != CL_SUCCESS ? result : finished, "fetch tensor", tensor->name);
}

const ec_device_backend ec_device_opencl = {
    .name = "opencl",
    .probe = opencl_probe,
    .state_bytes = opencl_state_bytes,
    .open = opencl_open,
    .prepare = opencl_prepare,
    .launch = opencl_launch,
    .sync = opencl_sync,
    .profile = opencl_profile,
    .fetch = opencl_fetch,
    .close = opencl_close,
};
