/* Checks of what a descriptor says about devices other than the CPU. */
#ifndef EDGECOMP_SRC_CORE_LAUNCH_CHECK_H
#define EDGECOMP_SRC_CORE_LAUNCH_CHECK_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"

/* EC_OK when the table of programs holds together, else EC_ERROR_DESCRIPTOR with the message
 * set. */
ec_status ec_programs_check(const ec_model *model);

/* The same for how call `index` is made: the CPU's have no launch, others have one that fits
 * their device. Programs and the call's own fields are checked before. */
ec_status ec_launch_check(const ec_model *model, uint32_t index);

#endif /* EDGECOMP_SRC_CORE_LAUNCH_CHECK_H */
