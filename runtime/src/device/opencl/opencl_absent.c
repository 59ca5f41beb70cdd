/* Stands in for the OpenCL back end in builds without it: opening a model says so by the name.
 */
#include "device/backends.h"
#include "exec/device.h"

const ec_device_backend ec_device_opencl = {.name = "OpenCL"};
