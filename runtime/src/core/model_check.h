/* The one look at a descriptor before it is trusted. */
#ifndef EDGECOMP_SRC_CORE_MODEL_CHECK_H
#define EDGECOMP_SRC_CORE_MODEL_CHECK_H

#include "edgecomp/edgecomp.h"

/* EC_OK when every count, index, range and size in the descriptor holds together, so that
 * running it stays within the arena, the weights and the workspaces. Else EC_ERROR_ARGUMENT
 * (NULL), EC_ERROR_VERSION (made for another runtime) or EC_ERROR_DESCRIPTOR, with the message
 * set. Contents of the weights are not looked at. */
ec_status ec_model_check(const ec_model *model);

#endif /* EDGECOMP_SRC_CORE_MODEL_CHECK_H */
