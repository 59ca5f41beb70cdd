/* A hand-written model with C kernels, as the bundle would generate one.
 *
 *   x [37, 16], gain [1] -> affine = x * gain * scale + bias        (sliced over rows)
 *   affine -> row_sum [37]                                          (sliced, with workspace)
 *   affine -> y int8 [37, 16], rounded to even and saturated        (sliced over elements)
 *   row_sum -> total, a scalar                                      (on the caller alone)
 *
 * Outputs: y, row_sum, total, and bias itself, which lies in the weights.
 */
#ifndef EDGECOMP_TESTS_RUNTIME_DEMO_MODEL_H
#define EDGECOMP_TESTS_RUNTIME_DEMO_MODEL_H

#include <stdint.h>

#include "edgecomp/model.h"

#define DEMO_ROWS 37
#define DEMO_COLUMNS 16
#define DEMO_ELEMENTS (DEMO_ROWS * DEMO_COLUMNS)
#define DEMO_WEIGHTS_BYTES 256

enum {
  DEMO_X,
  DEMO_GAIN,
  DEMO_SCALE,
  DEMO_BIAS,
  DEMO_AFFINE,
  DEMO_ROW_SUM,
  DEMO_Y,
  DEMO_TOTAL
};
enum { DEMO_TENSORS = 8, DEMO_CALLS = 4, DEMO_INPUTS = 2, DEMO_OUTPUTS = 4 };

/* The model, with embedded weights unless DEMO_SIDE_FILE is defined. */
const ec_model *demo_model(void);

/* Its weights, DEMO_WEIGHTS_BYTES of them, 64-byte aligned. */
const void *demo_weights(void);

/* A copy that a test may spoil. Points into itself: not to be moved. */
typedef struct demo_copy {
  ec_model model;
  ec_tensor tensors[DEMO_TENSORS];
  ec_call calls[DEMO_CALLS];
  uint32_t call_tensors[DEMO_CALLS][EC_MAX_KERNEL_POINTERS];
  ec_port inputs[DEMO_INPUTS];
  ec_port outputs[DEMO_OUTPUTS];
  ec_launch launches[DEMO_CALLS];
  ec_program program;
} demo_copy;

void demo_copy_make(demo_copy *out_copy);

/* Give a call to another device, by a launch of the kernel "kernel". */
void demo_put_on(demo_copy *copy, uint32_t call, uint32_t device);

/* What the model computes, written plainly. */
typedef struct demo_result {
  int8_t y[DEMO_ELEMENTS];
  float row_sum[DEMO_ROWS];
  float total;
} demo_result;

void demo_input(uint32_t seed, float *out_x, float *out_gain);
void demo_reference(const float *x, float gain, demo_result *out_result);

#endif /* EDGECOMP_TESTS_RUNTIME_DEMO_MODEL_H */
