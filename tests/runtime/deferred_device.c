/* In the place of the OpenCL back end. */
#include "deferred_device.h"

#include <stddef.h>
#include <stdint.h>

#include "core/message.h"
#include "device/backends.h"
#include "edgecomp/edgecomp.h"
#include "exec/device.h"
#include "exec/invoke.h"

#define QUEUE_LENGTH 8

deferred_log deferred;

typedef struct deferred_state {
  ec_device_context context;
  uint32_t queue[QUEUE_LENGTH];
  uint32_t queued;
} deferred_state;

static ec_status result(ec_status status) {
  return status == EC_OK ? EC_OK : EC_FAIL(status, "deferred device");
}

static ec_status probe(const ec_model *model, const ec_open_options *options) {
  (void)options;
  (void)model;
  deferred.probes += 1;
  return result(deferred.probe_status);
}

static uint64_t state_bytes(const ec_model *model) {
  (void)model;
  return sizeof(deferred_state);
}

static ec_status open_device(const ec_device_context *context, void *opaque) {
  deferred_state *state = opaque;
  deferred.opens += 1;
  state->context = *context;
  state->queued = 0;
  return result(deferred.open_status);
}

static ec_status prepare(void *state, uint32_t call) {
  (void)state;
  (void)call;
  deferred.prepares += 1;
  return result(deferred.prepare_status);
}

static void compute(const ec_device_context *context, uint32_t index) {
  const ec_call *call = &context->model->calls[index];
  void *pointers[EC_MAX_INVOKE_POINTERS];
  for (uint32_t i = 0; i < call->pointer_count; ++i) {
    const ec_tensor *tensor = &context->model->tensors[call->tensors[i]];
    pointers[i] = context->arena + tensor->offset_bytes;
  }
  ec_invoke(call->kernel, pointers, call->pointer_count, (int32_t)call->first_item,
            (int32_t)(call->first_item + call->work_items));
}

static ec_status launch(void *opaque, uint32_t call) {
  deferred_state *state = opaque;
  deferred.launches += 1;
  if (deferred.launch_status == EC_OK && state->queued < QUEUE_LENGTH) {
    state->queue[state->queued++] = call;
  }
  return result(deferred.launch_status);
}

static ec_status sync(void *opaque) {
  deferred_state *state = opaque;
  deferred.syncs += 1;
  for (uint32_t i = 0; i < state->queued; ++i) {
    compute(&state->context, state->queue[i]);
  }
  state->queued = 0;
  return result(deferred.sync_status);
}

static ec_status profile(void *opaque, uint32_t call, uint64_t *out_ns) {
  deferred_state *state = opaque;
  deferred.profiles += 1;
  compute(&state->context, call);
  *out_ns = 1234;
  return result(deferred.profile_status);
}

static void close_device(void *state) {
  (void)state;
  deferred.closes += 1;
}

const ec_device_backend ec_device_opencl = {
    .name = "deferred",
    .probe = probe,
    .state_bytes = state_bytes,
    .open = open_device,
    .prepare = prepare,
    .launch = launch,
    .sync = sync,
    .profile = profile,
    .close = close_device,
};
