#include "exec/run.h"

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"

/* End of the group of lanes that begins with a call, at most `end`; without lanes one behind.
 */
static uint32_t group_end(const ec_model *model, uint32_t first, uint32_t end) {
  uint32_t last = first;
  if (model->calls[first].lane == 1) {
    while (last + 1 < end && model->calls[last + 1].lane >= model->calls[last].lane) {
      ++last;
    }
  }
  return last + 1;
}

ec_status ec_run_calls(const ec_model *model, const ec_device *devices, uint32_t call_count) {
  if (call_count == 0) {
    return EC_OK;
  }
  const ec_device *active = &devices[model->calls[0].device];
  ec_status status = EC_OK;
  for (uint32_t i = 0, next = 0; status == EC_OK && i < call_count; i = next) {
    const ec_device *device = &devices[model->calls[i].device];
    if (device != active) { /* devices meet in the arena */
      status = active->backend->sync(active->state);
      active = device;
    }
    next = i + 1;
    if (status == EC_OK && device->backend->launch_lanes != NULL) {
      next = group_end(model, i, call_count);
    }
    if (status == EC_OK) {
      status = next == i + 1 ? device->backend->launch(device->state, i)
                             : device->backend->launch_lanes(device->state, i, next);
    }
  }
  /* Also after a failure, so that nothing is left running; the first failure is the result. */
  ec_status synced = active->backend->sync(active->state);
  return status != EC_OK ? status : synced;
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
