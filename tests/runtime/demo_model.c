#include "demo_model.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

#ifndef DEMO_FEATURES
#define DEMO_FEATURES ""
#endif
#ifndef DEMO_ABI_VERSION
#define DEMO_ABI_VERSION EC_MODEL_ABI_VERSION
#endif

/* scale [16], slack, bias [16], slack. */
static const struct {
  _Alignas(64) float scale[DEMO_COLUMNS];
  float slack[DEMO_COLUMNS];
  float bias[DEMO_COLUMNS];
  float more_slack[DEMO_COLUMNS];
} weights = {
    .scale = {.125f, .25f, .375f, .5f, .625f, .75f, .875f, 1.0f, 1.125f, 1.25f, 1.375f, 1.5f,
              1.625f, 1.75f, 1.875f, 2.0f},
    .bias = {-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7},
};
#define DEMO_WEIGHTS_HASH 0x62633fe72c31b6c3u

static void affine(void *x, void *gain, void *scale, void *bias, void *out, int32_t lo,
                   int32_t hi) {
  const float *from = x;
  float *to = out;
  for (int32_t i = lo * DEMO_COLUMNS; i < hi * DEMO_COLUMNS; ++i) {
    float product = from[i] * *(const float *)gain * ((const float *)scale)[i % DEMO_COLUMNS];
    to[i] = product + ((const float *)bias)[i % DEMO_COLUMNS];
  }
}

/* Goes through the workspace, to show that no two threads share one. */
static void row_sum(void *x, void *out, void *workspace, int32_t lo, int32_t hi) {
  float *scratch = workspace;
  for (int32_t row = lo; row < hi; ++row) {
    memcpy(scratch, (const float *)x + (ptrdiff_t)row * DEMO_COLUMNS,
           DEMO_COLUMNS * sizeof(float));
    float sum = 0;
    for (int column = 0; column < DEMO_COLUMNS; ++column) {
      sum += scratch[column];
    }
    ((float *)out)[row] = sum;
  }
}

static int8_t quantized(float value) {
  return (int8_t)lrintf(fminf(fmaxf(value, -128.0f), 127.0f));
}

static void quantize(void *x, void *out, int32_t lo, int32_t hi) {
  for (int32_t i = lo; i < hi; ++i) {
    ((int8_t *)out)[i] = quantized(((const float *)x)[i]);
  }
}

static void total(void *x, void *out, int32_t lo, int32_t hi) {
  float sum = 0;
  for (int32_t row = lo; row < hi * DEMO_ROWS; ++row) {
    sum += ((const float *)x)[row];
  }
  *(float *)out = sum;
}

static const ec_tensor tensors[DEMO_TENSORS] = {
    [DEMO_X] = {"x", 0, 2368, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
    [DEMO_GAIN] = {"gain", 2432, 4, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
    [DEMO_SCALE] = {"scale", 0, 64, EC_DTYPE_FLOAT32, EC_STORAGE_WEIGHTS},
    [DEMO_BIAS] = {"bias", 128, 64, EC_DTYPE_FLOAT32, EC_STORAGE_WEIGHTS},
    [DEMO_AFFINE] = {"affine", 2560, 2368, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
    /* In the memory of x, which is not needed any more. */
    [DEMO_ROW_SUM] = {"row_sum", 0, 148, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
    [DEMO_Y] = {"y", 256, 592, EC_DTYPE_INT8, EC_STORAGE_ARENA},
    [DEMO_TOTAL] = {"total", 960, 4, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
};

static const uint32_t affine_tensors[] = {DEMO_X, DEMO_GAIN, DEMO_SCALE, DEMO_BIAS,
                                          DEMO_AFFINE};
static const uint32_t row_sum_tensors[] = {DEMO_AFFINE, DEMO_ROW_SUM};
static const uint32_t quantize_tensors[] = {DEMO_AFFINE, DEMO_Y};
static const uint32_t total_tensors[] = {DEMO_ROW_SUM, DEMO_TOTAL};

static const ec_call calls[DEMO_CALLS] = {
    {(ec_kernel)affine, affine_tensors, 5, DEMO_ROWS, 0, 2L * DEMO_ELEMENTS, "Affine",
     "affine", "mul_0,add_1", "demo.py:10", EC_DEVICE_CPU, 0, 0, 0, 0, NULL},
    {(ec_kernel)row_sum, row_sum_tensors, 2, DEMO_ROWS, 64, 0, "ReduceSum", "fallback",
     "sum_2", "demo.py:11", EC_DEVICE_CPU, 0, 0, 0, 0, NULL},
    {(ec_kernel)quantize, quantize_tensors, 2, DEMO_ELEMENTS, 0, 0, "Quantize", "elementwise",
     "quantize_3", "demo.py:12", EC_DEVICE_CPU, 0, 0, 0, 0, NULL},
    {(ec_kernel)total, total_tensors, 2, 1, 0, 0, "ReduceSum", "fallback", "sum_4", "",
     EC_DEVICE_CPU, 0, 0, 0, 0, NULL},
};

static const ec_port inputs[DEMO_INPUTS] = {
    {"x", DEMO_X, EC_DTYPE_FLOAT32, 2, 0, {DEMO_ROWS, DEMO_COLUMNS}},
    {"gain", DEMO_GAIN, EC_DTYPE_FLOAT32, 1, 0, {1}},
};

static const ec_port outputs[DEMO_OUTPUTS] = {
    {"y", DEMO_Y, EC_DTYPE_INT8, 2, 0, {DEMO_ROWS, DEMO_COLUMNS}},
    {"row/sum:0", DEMO_ROW_SUM, EC_DTYPE_FLOAT32, 1, 0, {DEMO_ROWS}},
    {"total", DEMO_TOTAL, EC_DTYPE_FLOAT32, 0, 0, {0}},
    {"bias", DEMO_BIAS, EC_DTYPE_FLOAT32, 1, 0, {DEMO_COLUMNS}},
};

static const ec_model model = {
    .magic = EC_MODEL_MAGIC,
    .abi_version = DEMO_ABI_VERSION,
    .struct_bytes = sizeof(ec_model),
    .name = "demo",
    .target = "any",
    .required_features = DEMO_FEATURES,
    .tensors = tensors,
    .calls = calls,
    .inputs = inputs,
    .outputs = outputs,
    .tensor_count = DEMO_TENSORS,
    .call_count = DEMO_CALLS,
    .input_count = DEMO_INPUTS,
    .output_count = DEMO_OUTPUTS,
    .arena_bytes = 4992,
    .workspace_bytes = 64,
    .weights_bytes = DEMO_WEIGHTS_BYTES,
    .weights_hash = DEMO_WEIGHTS_HASH,
#ifdef DEMO_SIDE_FILE
    .embedded_weights = NULL,
    .weights_file = "demo.bin",
#else
    .embedded_weights = &weights,
    .weights_file = NULL,
#endif
};

_Static_assert(sizeof weights == DEMO_WEIGHTS_BYTES, "the weights' layout");

const ec_model *demo_model(void) { return &model; }

const void *demo_weights(void) { return &weights; }

EC_API const ec_model *ec_model_default(void);
const ec_model *ec_model_default(void) { return &model; }

void demo_copy_make(demo_copy *out) {
  memcpy(&out->model, &model, sizeof model);
  memcpy(out->tensors, tensors, sizeof tensors);
  memcpy(out->calls, calls, sizeof calls);
  memcpy(out->inputs, inputs, sizeof inputs);
  memcpy(out->outputs, outputs, sizeof outputs);
  out->model.tensors = out->tensors;
  out->model.calls = out->calls;
  out->model.inputs = out->inputs;
  out->model.outputs = out->outputs;
  for (int i = 0; i < DEMO_CALLS; ++i) {
    memcpy(out->call_tensors[i], calls[i].tensors, calls[i].pointer_count * sizeof(uint32_t));
    out->calls[i].tensors = out->call_tensors[i];
  }
}

void demo_put_on(demo_copy *copy, uint32_t call, uint32_t device) {
  copy->program = (ec_program){
      .text = "text",
      .options = "",
      .extensions = "",
      .text_bytes = 4,
      .device = device,
      .format = device == EC_DEVICE_CUDA ? EC_PROGRAM_CUDA_FATBIN : EC_PROGRAM_OPENCL_C,
      .version = 120};
  copy->model.programs = &copy->program;
  copy->model.program_count = 1;
  copy->launches[call] = (ec_launch){.kind = EC_LAUNCH_KERNEL,
                                     .kernel = "kernel",
                                     .global_sizes = {64, 1, 1},
                                     .local_sizes = {32, 1, 1}};
  copy->calls[call].device = device;
  copy->calls[call].launch = &copy->launches[call];
}

void demo_input(uint32_t seed, float *out_x, float *out_gain) {
  for (int i = 0; i < DEMO_ELEMENTS; ++i) {
    seed = seed * 1664525u + 1013904223u;
    out_x[i] = (float)(int32_t)(seed >> 24) - 128.0f;
  }
  *out_gain = 0.75f;
}

void demo_reference(const float *x, float gain, demo_result *out) {
  out->total = 0;
  for (int row = 0; row < DEMO_ROWS; ++row) {
    out->row_sum[row] = 0;
    for (int column = 0; column < DEMO_COLUMNS; ++column) {
      int i = row * DEMO_COLUMNS + column;
      float value = x[i] * gain * weights.scale[column] + weights.bias[column];
      out->y[i] = quantized(value);
      out->row_sum[row] += value;
    }
    out->total += out->row_sum[row];
  }
}
