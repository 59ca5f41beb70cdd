/* A model whose calls are OpenCL's but for one.
 *
 *   x [32] -> to the device
 *   x, weights, 3 -> t = x * weights + 3     kernel "ec_test_scale", 32 items in groups of 8
 *   t -> from the device
 *   t -> total                               on the CPU
 *
 * Outputs: t and total.
 */
#ifndef EDGECOMP_TESTS_RUNTIME_OPENCL_MODEL_H
#define EDGECOMP_TESTS_RUNTIME_OPENCL_MODEL_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"

enum {
  OPENCL_ELEMENTS = 32,
  OPENCL_GROUP = 8,
  OPENCL_CALLS = 4,
  OPENCL_TENSORS = 4,
  OPENCL_IMAGES = 2
};

/* A copy that a test may spoil. Points into itself: not to be moved. */
typedef struct opencl_model {
  ec_model model;
  ec_program program;
  ec_tensor tensors[OPENCL_TENSORS];
  ec_call calls[OPENCL_CALLS];
  ec_launch launches[OPENCL_CALLS];
  int32_t constant;
  ec_image images[OPENCL_IMAGES];
  ec_dynamic dynamic;
  ec_symbol symbol;
  ec_dynamic_call sized[OPENCL_CALLS];
} opencl_model;

void opencl_model_make(opencl_model *out_model);

/* Let the kernel read x and the weights as images of `width` texels, which divides the eight
 * that each has, or as much more as rows may end behind a tensor. */
void opencl_model_read_images(opencl_model *model, uint32_t width);

/* Let x and t have n elements, 1 to OPENCL_ELEMENTS, n take the place of the kernel's
 * constant, and t be the only output. */
void opencl_model_make_dynamic(opencl_model *out_model);

/* Run that on x[i] = i of n elements, and compare. */
void opencl_run_sized(ec_session *session, int64_t n);

/* Run it on x[i] = i + seed and compare. */
void opencl_run_and_compare(ec_session *session, float seed);

#endif /* EDGECOMP_TESTS_RUNTIME_OPENCL_MODEL_H */
