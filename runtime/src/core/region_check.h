/* The look at a descriptor's branches and loops before they are trusted. */
#ifndef EDGECOMP_SRC_CORE_REGION_CHECK_H
#define EDGECOMP_SRC_CORE_REGION_CHECK_H

#include "edgecomp/edgecomp.h"

/* EC_OK when the regions lie within the calls and in each other as edgecomp/model.h says, and
 * their tensors are what the runtime may read and write. Tensors and calls are checked
 * already. */
ec_status ec_regions_check(const ec_model *model);

#endif /* EDGECOMP_SRC_CORE_REGION_CHECK_H */
