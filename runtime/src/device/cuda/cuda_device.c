/* The CUDA back end: one stream of a context of its own. Calls that follow each other are one
 * graph: a run starts it as a whole and waits once.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/checked.h"
#include "device/backends.h"
#include "device/cuda/cu.h"
#include "device/cuda/cu_status.h"
#include "device/cuda/cuda_calls.h"
#include "device/cuda/cuda_choose.h"
#include "device/cuda/cuda_driver.h"
#include "device/cuda/cuda_graphs.h"
#include "device/cuda/cuda_memory.h"
#include "device/cuda/cuda_module.h"
#include "device/cuda/cuda_state.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"
#include "exec/sizes.h"

#define NS_PER_MS 1e6f

static ec_status cuda_probe(const ec_model *model, const ec_open_options *options) {
  ec_cu_driver driver;
  ec_cu_device device;
  ec_status status = ec_cu_driver_load(&driver);
  return status == EC_OK ? ec_cu_choose(&driver, model, options, &device) : status;
}

static uint64_t cuda_state_bytes(const ec_model *model) {
  uint64_t words =
      2 * (uint64_t)model->tensor_count + model->program_count + model->call_count;
  uint64_t bytes = sizeof(ec_cu_state) + words * sizeof(uint64_t) + model->call_count;
  return ec_add(bytes, ec_cu_graphs_bytes(model), &bytes) ? bytes : UINT64_MAX;
}

static void place_tables(ec_cu_state *state, const ec_model *model) {
  /* The block is zeroed: all are 0 or NULL. An entry has room for a pointer of any type. */
  uint64_t *next = state->table;
  state->memory.addresses = (cu_address *)(uintptr_t)next;
  next += model->tensor_count;
  state->memory.staged = next;
  next += model->tensor_count;
  state->modules = (cu_module *)(uintptr_t)next;
  next += model->program_count;
  state->functions = (cu_function *)(uintptr_t)next;
  next += model->call_count;
  ec_cu_graphs_place(state, next);
  next += ec_cu_graphs_bytes(model) / sizeof(uint64_t);
  state->is_pending = (uint8_t *)next;
}

/* The session's context is the thread's own between these two. */
static ec_status enter(const ec_cu_state *state) {
  return ec_cu_status(&state->driver, state->driver.CtxPushCurrent_v2(state->context),
                      "work for", state->device.name);
}

static void leave(const ec_cu_state *state) {
  cu_context before = NULL;
  (void)state->driver.CtxPopCurrent_v2(&before);
}

static void release(const ec_cu_state *state) {
  const ec_cu_driver *driver = &state->driver;
  const ec_model *model = state->session.model;
  if (state->stream != NULL) {
    (void)driver->StreamSynchronize(state->stream);
  }
  ec_cu_graphs_release(state);
  for (uint32_t i = 0; i < model->program_count; ++i) {
    if (state->modules[i] != NULL) {
      (void)driver->ModuleUnload(state->modules[i]);
    }
  }
  ec_cu_memory_release(driver, &state->memory);
  if (state->begin != NULL) {
    (void)driver->EventDestroy_v2(state->begin);
  }
  if (state->end != NULL) {
    (void)driver->EventDestroy_v2(state->end);
  }
  if (state->stream != NULL) {
    (void)driver->StreamDestroy_v2(state->stream);
  }
}

static void cuda_close(void *opaque) {
  const ec_cu_state *state = opaque;
  if (state->context == NULL) {
    return;
  }
  /* A context that was lost gives nothing back by itself, and all of it when it goes. */
  if (state->driver.CtxPushCurrent_v2(state->context) == CU_SUCCESS) {
    release(state);
    leave(state);
  }
  (void)state->driver.CtxDestroy_v2(state->context);
}

static ec_status load_programs(ec_cu_state *state) {
  const ec_model *model = state->session.model;
  ec_status status = EC_OK;
  for (uint32_t i = 0; status == EC_OK && i < model->program_count; ++i) {
    if (model->programs[i].device == EC_DEVICE_CUDA) {
      status =
          ec_cu_load(&state->driver, &state->device, &model->programs[i], &state->modules[i]);
    }
  }
  return status;
}

/* In the context, which is current when it was made. */
static ec_status fill_context(ec_cu_state *state) {
  const ec_cu_driver *driver = &state->driver;
  cu_result result = driver->StreamCreate(&state->stream, CU_STREAM_NON_BLOCKING);
  if (result == CU_SUCCESS) {
    result = driver->EventCreate(&state->begin, 0);
  }
  if (result == CU_SUCCESS) {
    result = driver->EventCreate(&state->end, 0);
  }
  ec_status status = ec_cu_status(driver, result, "open device", state->device.name);
  if (status == EC_OK) {
    status = ec_cu_memory_make(driver, &state->session, &state->memory);
  }
  return status == EC_OK ? load_programs(state) : status;
}

static ec_status cuda_open(const ec_device_context *context, void *opaque) {
  ec_cu_state *state = opaque;
  state->session = *context;
  place_tables(state, context->model);
  ec_status status = ec_cu_driver_load(&state->driver);
  if (status == EC_OK) {
    status = ec_cu_choose(&state->driver, context->model, context->options, &state->device);
  }
  if (status != EC_OK) {
    return status;
  }
  cu_result result = state->driver.CtxCreate_v2(&state->context, 0, state->device.id);
  if (result != CU_SUCCESS) {
    return ec_cu_status(&state->driver, result, "open device", state->device.name);
  }
  status = fill_context(state);
  leave(state);
  if (status != EC_OK) {
    cuda_close(state);
  }
  return status;
}

static ec_status prepare(ec_cu_state *state, uint32_t index) {
  const ec_model *model = state->session.model;
  const ec_launch *launch = model->calls[index].launch;
  ec_status status = EC_OK;
  if (launch->kind == EC_LAUNCH_KERNEL) {
    status = ec_cu_find(&state->driver, &state->device, state->modules[launch->program],
                        launch, &state->functions[index]);
  }
  return status == EC_OK ? ec_cu_graphs_prepare(state, index) : status;
}

static ec_status cuda_prepare(void *opaque, uint32_t index) {
  ec_cu_state *state = opaque;
  ec_status status = enter(state);
  if (status == EC_OK) {
    status = prepare(state, index);
    leave(state);
  }
  return status;
}

/* Inputs of calls [first, end) into the pinned memory; their results are to be taken later. */
static void stage(ec_cu_state *state, uint32_t first, uint32_t end) {
  const ec_model *model = state->session.model;
  for (uint32_t i = first; i < end; ++i) {
    uint32_t number = model->calls[i].tensors[0];
    const ec_tensor *tensor = &model->tensors[number];
    if (model->calls[i].launch->kind == EC_LAUNCH_TO_DEVICE) {
      memcpy(state->memory.staging + state->memory.staged[number],
             state->session.arena + (size_t)tensor->offset_bytes,
             (size_t)ec_sizes_copied(state->session.sizes, model, i));
    }
    if (model->calls[i].launch->kind == EC_LAUNCH_FROM_DEVICE) {
      state->is_pending[i] = 1;
    }
  }
}

/* What finished copies brought; only forgotten where the device has failed. */
static void unstage(ec_cu_state *state, bool is_good) {
  const ec_model *model = state->session.model;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    if (state->is_pending[i] != 0 && is_good) {
      uint32_t number = model->calls[i].tensors[0];
      const ec_tensor *tensor = &model->tensors[number];
      memcpy(state->session.arena + (size_t)tensor->offset_bytes,
             state->memory.staging + state->memory.staged[number],
             (size_t)ec_sizes_copied(state->session.sizes, model, i));
    }
    state->is_pending[i] = 0;
  }
}

/* Calls [first, end), as one graph where there is one. */
static ec_status start(ec_cu_state *state, uint32_t first, uint32_t end) {
  cu_graph_run graph = NULL;
  ec_status status = ec_cu_graphs_find(state, first, end, &graph);
  if (status == EC_OK && graph != NULL) {
    return ec_cu_status(&state->driver, state->driver.GraphLaunch(graph, state->stream),
                        "start the calls of model", state->session.model->name);
  }
  for (uint32_t i = first; status == EC_OK && i < end; ++i) {
    status = ec_cu_enqueue(state, i);
  }
  return status;
}

static ec_status cuda_launch_run(void *opaque, uint32_t first, uint32_t end) {
  ec_cu_state *state = opaque;
  ec_status status = enter(state);
  if (status == EC_OK) {
    stage(state, first, end);
    status = start(state, first, end);
    leave(state);
  }
  return status;
}

static ec_status cuda_launch(void *state, uint32_t index) {
  return cuda_launch_run(state, index, index + 1);
}

static ec_status cuda_sync(void *opaque) {
  ec_cu_state *state = opaque;
  ec_status status = enter(state);
  if (status != EC_OK) {
    unstage(state, false);
    return status;
  }
  cu_result result = state->driver.StreamSynchronize(state->stream);
  leave(state);
  unstage(state, result == CU_SUCCESS);
  return ec_cu_status(&state->driver, result, "finish the calls of model",
                      state->session.model->name);
}

static ec_status measure(const ec_cu_state *state, uint32_t index, uint64_t *out_ns) {
  const ec_cu_driver *driver = &state->driver;
  float spent_ms = 0;
  cu_result result = driver->EventRecord(state->begin, state->stream);
  ec_status status = ec_cu_status(driver, result, "measure", state->session.model->name);
  if (status == EC_OK) {
    status = ec_cu_enqueue(state, index);
  }
  if (status == EC_OK) {
    result = driver->EventRecord(state->end, state->stream);
  }
  cu_result finished = driver->StreamSynchronize(state->stream); /* also after a failure */
  result = result != CU_SUCCESS ? result : finished;
  if (status == EC_OK && result == CU_SUCCESS) {
    result = driver->EventElapsedTime(&spent_ms, state->begin, state->end);
  }
  *out_ns = spent_ms > 0 ? (uint64_t)(spent_ms * NS_PER_MS) : 0;
  return status != EC_OK ? status
                         : ec_cu_status(driver, result, "measure a call of model",
                                        state->session.model->name);
}

static ec_status cuda_profile(void *opaque, uint32_t index, uint64_t *out_ns) {
  ec_cu_state *state = opaque;
  ec_status status = enter(state);
  if (status != EC_OK) {
    return status;
  }
  stage(state, index, index + 1);
  status = measure(state, index, out_ns);
  leave(state);
  unstage(state, status == EC_OK);
  return status;
}

static ec_status cuda_fetch(void *opaque, uint32_t index) {
  const ec_cu_state *state = opaque;
  const ec_tensor *tensor = &state->session.model->tensors[index];
  if (tensor->bytes == 0 || state->memory.addresses[index] == 0) {
    return EC_OK;
  }
  ec_status status = enter(state);
  if (status == EC_OK) {
    uint8_t *host = state->session.arena + (size_t)tensor->offset_bytes;
    cu_result result = state->driver.MemcpyDtoH_v2(host, state->memory.addresses[index],
                                                   (size_t)tensor->bytes);
    status = ec_cu_status(&state->driver, result, "fetch tensor", tensor->name);
    leave(state);
  }
  return status;
}

const ec_device_backend ec_device_cuda = {
    .name = "cuda",
    .probe = cuda_probe,
    .state_bytes = cuda_state_bytes,
    .open = cuda_open,
    .prepare = cuda_prepare,
    .launch = cuda_launch,
    .launch_run = cuda_launch_run,
    .sync = cuda_sync,
    .profile = cuda_profile,
    .fetch = cuda_fetch,
    .close = cuda_close,
};
