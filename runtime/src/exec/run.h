/* The calls of a model, in order, each on its device; branches and loops among them. */
#ifndef EDGECOMP_SRC_EXEC_RUN_H
#define EDGECOMP_SRC_EXEC_RUN_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "exec/device.h"
#include "exec/sizes.h"

/* What a run works on. */
typedef struct ec_run {
  const ec_model *model;
  const ec_device *devices; /* EC_DEVICE_COUNT entries */
  uint8_t *arena;
  const uint8_t *weights; /* NULL when the model has none */
  ec_sizes *sizes;        /* NULL for a model whose sizes are fixed */
} ec_run;

/* Run the first `call_count` calls; of a loop that ends after them, one round. */
ec_status ec_run_calls(const ec_run *run, uint32_t call_count);

/* Run all calls, each to its end, and add their times to `profiles`, one per call. */
ec_status ec_run_profiled(const ec_run *run, ec_call_profile *profiles);

#endif /* EDGECOMP_SRC_EXEC_RUN_H */
