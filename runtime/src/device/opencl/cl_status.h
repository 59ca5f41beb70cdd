/* What the driver's results mean to a session. */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_CL_STATUS_H
#define EDGECOMP_SRC_DEVICE_OPENCL_CL_STATUS_H

#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"

/* EC_OK for CL_SUCCESS. Else EC_ERROR_DEVICE_MEMORY, _FEATURE, _LOST or EC_ERROR_DEVICE,
 * and the message says what was tried ("run kernel 'k'" is `action` with `subject`). */
ec_status ec_cl_status(cl_int result, const char *action, const char *subject);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_CL_STATUS_H */
