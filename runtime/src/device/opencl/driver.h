/* The system's OpenCL driver, loaded when it is needed. */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_DRIVER_H
#define EDGECOMP_SRC_DEVICE_OPENCL_DRIVER_H

#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"

/* The driver's functions, named as OpenCL's without the "cl". */
typedef struct ec_cl_driver {
/* A type, a name and parameters cannot stand in parentheses. */
#define EC_CL_POINTER(name, result, parameters) \
  result(*name) parameters; /* NOLINT(bugprone-macro-parentheses) */
  EC_CL_FUNCTIONS(EC_CL_POINTER)
#undef EC_CL_POINTER
} ec_cl_driver;

/* Load it; EC_ERROR_DEVICE_ABSENT with the message set where there is none, or one that lacks
 * a function. It stays loaded until the process ends: drivers do not survive being unloaded.
 */
EC_MUST_CHECK ec_status ec_cl_driver_load(ec_cl_driver *out_driver);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_DRIVER_H */
