/* Tensors that kernels read as images, through the cache that a device has for them.
 *
 * An image is made over the tensor's buffer where the device makes images of buffers and takes
 * rows of this length; the tensor's memory is then the image's. Else it has memory of its own,
 * which weights are copied into once, and what changes from run to run in front of each kernel
 * that reads it.
 */
#ifndef EDGECOMP_SRC_DEVICE_OPENCL_IMAGES_H
#define EDGECOMP_SRC_DEVICE_OPENCL_IMAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "device/opencl/buffers.h"
#include "device/opencl/choose.h"
#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"
#include "exec/device.h"

/* An image of a call; calls that read a tensor alike share it. */
typedef struct ec_cl_image {
  cl_mem image; /* NULL where it is not made yet */
  bool is_owned;
  bool is_filled; /* from the tensor's buffer, in front of each kernel */
} ec_cl_image;

/* `made` has an entry for each image of the model's calls for OpenCL, in their order; `first`,
 * for each call, the number of its first one. */
typedef struct ec_cl_images {
  ec_cl_image *made;
  uint32_t *first;
} ec_cl_images;

/* How many images the model's calls for OpenCL have; those of one in `ec_launch.images`. */
uint32_t ec_cl_image_count(const ec_model *model);

/* Find each call's first one. */
void ec_cl_images_begin(ec_cl_images *images, const ec_model *model);

/* EC_ERROR_DEVICE_FEATURE where the device has no images, or none so large as the model's. */
EC_MUST_CHECK ec_status ec_cl_images_check(const ec_cl_device *device, const ec_model *model);

/* Make what a call reads: its buffers, and the images in the place of some of them. */
EC_MUST_CHECK ec_status ec_cl_images_make(const ec_cl_images *images, ec_cl_buffers *buffers,
                                          const ec_device_context *session, uint32_t call);

/* The image of a call's argument; NULL where that is a buffer. */
const ec_cl_image *ec_cl_image_of(const ec_cl_images *images, const ec_model *model,
                                  uint32_t call, uint32_t argument);

/* Bring what a call reads into the images that have memory of their own. */
cl_int ec_cl_images_fill(const ec_cl_images *images, const ec_cl_buffers *buffers,
                         const ec_model *model, cl_command_queue queue, uint32_t call);

/* Give all of them back, before the buffers. */
void ec_cl_images_release(const ec_cl_images *images, const ec_cl_driver *driver,
                          uint32_t count);

#endif /* EDGECOMP_SRC_DEVICE_OPENCL_IMAGES_H */
