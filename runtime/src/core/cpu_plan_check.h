/* Whether the CPU plan of a model is the same model. */
#ifndef EDGECOMP_SRC_CORE_CPU_PLAN_CHECK_H
#define EDGECOMP_SRC_CORE_CPU_PLAN_CHECK_H

#include <stdbool.h>

#include "edgecomp/edgecomp.h"

/* Whether all calls of a model are the CPU's. */
bool ec_is_cpu_alone(const ec_model *model);

/* Compare a model that has a CPU plan with it; both are checked apart from that. EC_OK, or
 * EC_ERROR_DESCRIPTOR with the first difference. */
ec_status ec_cpu_plan_check(const ec_model *model);

#endif /* EDGECOMP_SRC_CORE_CPU_PLAN_CHECK_H */
