/* Sizes of tensors that kernels read as images. */
#ifndef EDGECOMP_SRC_CORE_IMAGE_H
#define EDGECOMP_SRC_CORE_IMAGE_H

#include <stdint.h>

#include "core/dtype.h"
#include "edgecomp/model.h"

#define EC_TEXEL_ELEMENTS 4u

/* Bytes of a row of texels. */
static inline uint64_t ec_image_row_bytes(const ec_image *image, const ec_tensor *tensor) {
  return (uint64_t)image->width * EC_TEXEL_ELEMENTS * ec_dtype_bytes(tensor->dtype);
}

/* Bytes from the tensor's first to the end of the last row, of an image that is checked. */
static inline uint64_t ec_image_bytes(const ec_image *image, const ec_tensor *tensor) {
  return image->height * ec_image_row_bytes(image, tensor);
}

#endif /* EDGECOMP_SRC_CORE_IMAGE_H */
