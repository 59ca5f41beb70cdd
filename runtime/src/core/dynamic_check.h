/* Checks of what differs from run to run. */
#ifndef EDGECOMP_SRC_CORE_DYNAMIC_CHECK_H
#define EDGECOMP_SRC_CORE_DYNAMIC_CHECK_H

#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

/* Whether a model's dynamic part is whole and stays inside of the rest for all sizes; of a
 * model that is checked otherwise. EC_ERROR_DESCRIPTOR with a message. */
ec_status ec_dynamic_check(const ec_model *model);

#endif /* EDGECOMP_SRC_CORE_DYNAMIC_CHECK_H */
