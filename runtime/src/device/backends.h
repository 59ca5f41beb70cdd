/* The table of back ends. */
#ifndef EDGECOMP_SRC_DEVICE_BACKENDS_H
#define EDGECOMP_SRC_DEVICE_BACKENDS_H

#include <stdint.h>

#include "exec/device.h"

/* Each folder beside this file defines one; where a device is not built
 * in, its DEVICE_absent.c does.
 */
extern const ec_device_backend ec_device_cpu;
extern const ec_device_backend ec_device_opencl;
extern const ec_device_backend ec_device_cuda;

/* The back end of an ec_device_kind below EC_DEVICE_COUNT. */
const ec_device_backend *ec_device_backend_of(uint32_t kind);

#endif /* EDGECOMP_SRC_DEVICE_BACKENDS_H */
