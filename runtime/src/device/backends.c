#include "device/backends.h"

#include <stdint.h>

#include "edgecomp/model.h"
#include "exec/device.h"

static const ec_device_backend *const backends[EC_DEVICE_COUNT] = {
    [EC_DEVICE_CPU] = &ec_device_cpu,
    [EC_DEVICE_OPENCL] = &ec_device_opencl,
    [EC_DEVICE_CUDA] = &ec_device_cuda,
};

const ec_device_backend *ec_device_backend_of(uint32_t kind) { return backends[kind]; }
