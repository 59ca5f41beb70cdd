/* The device that a session's calls run on. */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_CHOOSE_H
#define EDGECOMP_SRC_DEVICE_OPENCL_CHOOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/opencl/cl.h"
#include "device/opencl/driver.h"
#include "edgecomp/edgecomp.h"

#define EC_CL_NAME_BYTES 96

/* A device and what the back end has to know about it. */
typedef struct ec_cl_device {
  cl_device_id id;
  cl_platform_id platform;
  char name[EC_CL_NAME_BYTES];   /* cut where longer */
  char driver[EC_CL_NAME_BYTES]; /* version of its driver */
  uint64_t largest_bytes;        /* of one buffer */
  size_t alignment_bytes;        /* of parts of a buffer */
  bool shares_memory;            /* with the CPU */
  bool has_dots_in_c3; /* cl_khr_integer_dot_product, which OpenCL C 3.0 has functions of, and
                          not Qualcomm's extension, whose compilers have it in 1.2 */
  bool has_images;
  size_t most_image_width; /* texels */
  size_t most_image_height;
  uint32_t image_row_texels;  /* of images over buffers: rows are multiples; 0: it has none */
  uint32_t image_base_texels; /* and begin at multiples */
} ec_cl_device;

/* The first device with all that the model's programs for OpenCL ask for, whose name or
 * platform's name contains options->device_name where that is given; GPUs before accelerators
 * before processors. EC_ERROR_DEVICE_ABSENT where there is none of such a name,
 * EC_ERROR_DEVICE_FEATURE where none has what is asked for. */
EC_MUST_CHECK ec_status ec_cl_choose(const ec_cl_driver *driver, const ec_model *model,
                                     const ec_open_options *options, ec_cl_device *out_device);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_CHOOSE_H */
