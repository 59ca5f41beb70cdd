/* Modules: a program's kernels on the device. */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CUDA_MODULE_H
#define EDGECOMP_SRC_DEVICE_CUDA_CUDA_MODULE_H

#include "device/cuda/cu.h"
#include "device/cuda/cuda_choose.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

/* Load a program, in the current context. Where only PTX fits, the driver compiles it, and
 * keeps what it made by itself. EC_ERROR_DEVICE_FEATURE where nothing fits the device,
 * EC_ERROR_DEVICE_BUILD with the beginning of the compiler's log. */
EC_MUST_CHECK ec_status ec_cu_load(const ec_cu_driver *driver, const ec_cu_device *device,
                                   const ec_program *program, cu_module *out_module);

/* Find the kernel of a call, and check that the device starts it as the call says. */
EC_MUST_CHECK ec_status ec_cu_find(const ec_cu_driver *driver, const ec_cu_device *device,
                                   cu_module module, const ec_launch *launch,
                                   cu_function *out_function);

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CUDA_MODULE_H */
