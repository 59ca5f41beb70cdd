/* Programs: compiled from their text, or loaded as what the driver made of it before. */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_PROGRAM_H
#define EDGECOMP_SRC_DEVICE_OPENCL_PROGRAM_H

#include "device/opencl/choose.h"
#include "device/opencl/cl.h"
#include "device/opencl/driver.h"
#include "edgecomp/edgecomp.h"

/* Build a program for a device. With a folder, the driver's binary is looked for there and
 * left there, under a name made of the text, the options, the device and its driver's version;
 * a file that is damaged, or that the driver does not take, is as none. EC_ERROR_DEVICE_BUILD
 * with the beginning of the compiler's log. */
EC_MUST_CHECK ec_status ec_cl_build(const ec_cl_driver *driver, cl_context context,
                                    const ec_cl_device *device, const ec_program *program,
                                    const char *cache_folder, cl_program *out_program);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_PROGRAM_H */
