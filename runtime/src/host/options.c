#include "host/options.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/cpu_plan_check.h"
#include "core/message.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

ec_open_options ec_open_options_default(void) {
  ec_open_options options = {.struct_bytes = sizeof(ec_open_options), .threads = 1};
  return options;
}

static ec_status check_shares(const ec_open_options *options) {
  uint64_t sum = 0;
  for (uint32_t i = 0; options->thread_shares != NULL && i < options->threads; ++i) {
    sum += options->thread_shares[i];
  }
  if (options->thread_shares != NULL && (sum == 0 || sum > UINT32_MAX)) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "the thread shares add up to %" PRIu64, sum);
  }
  return EC_OK;
}

ec_status ec_options_resolve(const ec_open_options *options, ec_open_options *out_options) {
  ec_open_options resolved = ec_open_options_default();
  if (options != NULL) {
    /* Fields are only ever appended: a shorter struct is older, a longer one asks for
     * something that this runtime does not know. */
    if (options->struct_bytes > sizeof resolved) {
      return EC_FAIL(EC_ERROR_VERSION, "the open options are of a newer runtime");
    }
    if (options->struct_bytes < sizeof resolved) {
      return EC_FAIL(EC_ERROR_ARGUMENT, "struct_bytes of the open options is not set");
    }
    memcpy(&resolved, options, sizeof resolved);
  }
  if (resolved.threads == 0) {
    resolved.threads = 1;
  }
  if (resolved.threads > EC_MAX_THREADS) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "%" PRIu32 " threads, at most %d", resolved.threads,
                   EC_MAX_THREADS);
  }
  if (resolved.plan > EC_PLAN_CPU || resolved.reserved != 0) {
    return EC_FAIL(EC_ERROR_ARGUMENT, "unknown plan %" PRIu32, resolved.plan);
  }
  ec_status status = check_shares(&resolved);
  if (status == EC_OK) {
    *out_options = resolved;
  }
  return status;
}

ec_status ec_options_check_device(const ec_model *model, const ec_open_options *options) {
  if (options->device_name != NULL && ec_is_cpu_alone(model)) {
    return EC_FAIL(EC_ERROR_ARGUMENT,
                   "device '%s' is asked for, but all calls of model '%s' are the CPU's",
                   options->device_name, model->name);
  }
  return EC_OK;
}
