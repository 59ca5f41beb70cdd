#include "exec/run.h"

#include <stddef.h>
#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"

/* Sync a device, NULL being none; an earlier failure stays the result. */
static ec_status sync_after(ec_status status, const ec_device *device) {
  if (device == NULL) {
    return status;
  }
  ec_status synced = device->backend->sync(device->state);
  return status != EC_OK ? status : synced;
}

ec_status ec_run_calls(const ec_model *model, const ec_device *devices, uint32_t call_count) {
  const ec_device *last = NULL;
  ec_status status = EC_OK;
  for (uint32_t i = 0; status == EC_OK && i < call_count; ++i) {
    const ec_device *device = &devices[model->calls[i].device];
    if (device != last) { /* devices meet in the arena */
      status = sync_after(EC_OK, last);
      last = device;
    }
    if (status == EC_OK) {
      status = device->backend->launch(device->state, i);
    }
  }
  return sync_after(status, last);
}

static void add_time(ec_call_profile *profile, uint64_t spent_ns) {
  if (profile->runs == 0 || spent_ns < profile->minimum_ns) {
    profile->minimum_ns = spent_ns;
  }
  profile->runs += 1;
  profile->total_ns += spent_ns;
}

ec_status ec_run_profiled(const ec_model *model, const ec_device *devices,
                          ec_call_profile *profiles) {
  for (uint32_t i = 0; i < model->call_count; ++i) {
    const ec_device *device = &devices[model->calls[i].device];
    uint64_t spent_ns = 0;
    ec_status status = device->backend->profile(device->state, i, &spent_ns);
    if (status != EC_OK) {
      return status;
    }
    add_time(&profiles[i], spent_ns);
  }
  return EC_OK;
}
