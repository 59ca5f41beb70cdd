#include "host/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "core/message.h"
#include "device/backends.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"
#include "exec/pool.h"
#include "exec/sizes.h"
#include "host/session.h"

/* Take `bytes` from the end of the block. */
static bool reserve(uint64_t bytes, uint64_t *inout_total, uint64_t *out_offset) {
  uint64_t end = 0;
  if (!ec_add(*inout_total, bytes, &end) || !ec_align(end, &end)) {
    return false;
  }
  *out_offset = *inout_total;
  *inout_total = end;
  return true;
}

/* The CPU is always used: its probe also checks the processor. */
static void find_devices(const ec_model *model, ec_layout *layout) {
  layout->uses_device[EC_DEVICE_CPU] = true;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    layout->uses_device[model->calls[i].device] = true;
  }
}

static bool reserve_all(const ec_model *model, uint32_t threads, uint64_t message_bytes,
                        ec_layout *layout) {
  uint64_t *total = &layout->total_bytes;
  uint64_t session = 0;
  bool fits = reserve(sizeof(struct ec_session), total, &session) &&
              reserve(message_bytes, total, &layout->message);
  for (uint32_t kind = 0; fits && kind < EC_DEVICE_COUNT; ++kind) {
    if (layout->uses_device[kind]) {
      const ec_device_backend *backend = ec_device_backend_of(kind);
      fits = reserve(backend->state_bytes(model), total, &layout->states[kind]);
    }
  }
  uint64_t workspaces_bytes = 0;
  uint64_t stride = 0;
  fits = fits && ec_add(model->workspace_bytes, EC_SLACK_BYTES, &stride) &&
         ec_align(stride, &stride) && ec_multiply(stride, threads, &workspaces_bytes);
  layout->workspace_stride_bytes = stride;
  fits = fits && reserve(ec_sizes_bytes(model), total, &layout->sizes);
  return fits && reserve(ec_pool_bytes(threads), total, &layout->pool) &&
         reserve(model->arena_bytes, total, &layout->arena) &&
         reserve(workspaces_bytes, total, &layout->workspaces) && *total <= SIZE_MAX;
}

ec_status ec_layout_make(const ec_model *model, uint32_t threads, uint64_t message_bytes,
                         ec_layout *out_layout) {
  ec_layout layout = {0};
  find_devices(model, &layout);
  for (uint32_t kind = 0; kind < EC_DEVICE_COUNT; ++kind) {
    const ec_device_backend *backend = ec_device_backend_of(kind);
    if (layout.uses_device[kind] && backend->state_bytes == NULL) {
      return EC_FAIL(EC_ERROR_DEVICE_ABSENT,
                     "model '%s' has calls for %s, which is not part of this build",
                     model->name, backend->name);
    }
  }
  if (!reserve_all(model, threads, message_bytes, &layout)) {
    return EC_FAIL(EC_ERROR_OUT_OF_MEMORY, "model '%s' needs more than the address space",
                   model->name);
  }
  *out_layout = layout;
  return EC_OK;
}
