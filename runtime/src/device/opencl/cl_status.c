#include "device/opencl/cl_status.h"

#include "core/message.h"
#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"

/* NVIDIA's and Qualcomm's own numbers for a kernel that the device has given up begin here. */
#define VENDOR_FAULTS (-9999)

ec_status ec_cl_status(cl_int result, const char *action, const char *subject) {
  switch (result) {
    case CL_SUCCESS:
      return EC_OK;
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_HOST_MEMORY:
    case CL_OUT_OF_RESOURCES:
    case CL_INVALID_BUFFER_SIZE:
      return EC_FAIL(EC_ERROR_DEVICE_MEMORY,
                     "the OpenCL device has no memory or registers left to %s '%s' (%d)",
                     action, subject, (int)result);
    case CL_IMAGE_FORMAT_NOT_SUPPORTED:
    case CL_INVALID_IMAGE_SIZE:
      return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                     "the OpenCL device has no images of this size and format: it failed to "
                     "%s '%s' (%d)",
                     action, subject, (int)result);
    case CL_DEVICE_NOT_AVAILABLE:
    case CL_INVALID_CONTEXT:
    case CL_INVALID_COMMAND_QUEUE:
    case VENDOR_FAULTS:
      return EC_FAIL(EC_ERROR_DEVICE_LOST,
                     "the OpenCL device was lost: it failed to %s '%s' (%d)", action, subject,
                     (int)result);
    default:
      return EC_FAIL(EC_ERROR_DEVICE, "the OpenCL driver failed to %s '%s' (%d)", action,
                     subject, (int)result);
  }
}
