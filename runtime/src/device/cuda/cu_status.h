/* What the driver's results mean to a session. */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CU_STATUS_H
#define EDGECOMP_SRC_DEVICE_CUDA_CU_STATUS_H

#include "device/cuda/cu.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"

/* EC_OK for CU_SUCCESS. Else EC_ERROR_DEVICE_MEMORY, EC_ERROR_DEVICE_LOST or EC_ERROR_DEVICE,
 * and the message says what was tried ("run kernel 'k'" is `action` with `subject`). */
ec_status ec_cu_status(const ec_cu_driver *driver, cu_result result, const char *action,
                       const char *subject);

/* A driver that does not start: EC_ERROR_DEVICE_ABSENT without a device,
 * EC_ERROR_DEVICE_FEATURE where the driver is not the kernel's or too old for the device. */
ec_status ec_cu_absent(const ec_cu_driver *driver, cu_result result);

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CU_STATUS_H */
