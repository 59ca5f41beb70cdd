/* The calls of a model, in order, each on its device. */
#ifndef EDGECOMP_SRC_EXEC_RUN_H
#define EDGECOMP_SRC_EXEC_RUN_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "exec/device.h"

/* Run the first `call_count` calls. `devices` has EC_DEVICE_COUNT entries. */
ec_status ec_run_calls(const ec_model *model, const ec_device *devices, uint32_t call_count);

/* Run all calls, each to its end, and add their times to `profiles`, one per call. */
ec_status ec_run_profiled(const ec_model *model, const ec_device *devices,
                          ec_call_profile *profiles);

#endif /* EDGECOMP_SRC_EXEC_RUN_H */
