#include "opencl_model.h"

#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

static const char text[] =
    "__kernel void ec_test_scale(__global const float *x, __global const float *w,\n"
    "                            __global float *t, int plus) {\n"
    "  int i = get_global_id(0);\n"
    "  t[i] = x[i] * w[i] + plus;\n"
    "}\n";

static const char text_with_images[] =
    "float ec_element(__read_only image2d_t image, int i) {\n"
    "  const sampler_t sampler =\n"
    "      CLK_NORMALIZED_COORDS_FALSE | CLK_ADDRESS_CLAMP | CLK_FILTER_NEAREST;\n"
    "  int width = get_image_width(image);\n"
    "  float4 texel = read_imagef(image, sampler, (int2)(i / 4 % width, i / 4 / width));\n"
    "  return ((float *)&texel)[i % 4];\n"
    "}\n"
    "__kernel void ec_test_scale(__read_only image2d_t x, __read_only image2d_t w,\n"
    "                            __global float *t, int plus) {\n"
    "  int i = get_global_id(0);\n"
    "  t[i] = ec_element(x, i) * ec_element(w, i) + plus;\n"
    "}\n";

enum { X, W, T, TOTAL };

static const struct {
  _Alignas(64) float values[OPENCL_ELEMENTS];
  float slack[16];
} weights = {.values = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
                        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

static const uint32_t x_alone[] = {X};
static const uint32_t t_alone[] = {T};
static const uint32_t scale_tensors[] = {X, W, T};
static const uint32_t total_tensors[] = {T, TOTAL};

static const ec_port inputs[] = {{"x", X, EC_DTYPE_FLOAT32, 1, 0, {OPENCL_ELEMENTS}}};
static const ec_port outputs[] = {{"t", T, EC_DTYPE_FLOAT32, 1, 0, {OPENCL_ELEMENTS}},
                                  {"total", TOTAL, EC_DTYPE_FLOAT32, 0, 0, {0}}};

static void total(void *t, void *out, int32_t lo, int32_t hi) {
  float sum = 0;
  for (int32_t i = lo; i < hi * OPENCL_ELEMENTS; ++i) {
    sum += ((const float *)t)[i];
  }
  *(float *)out = sum;
}

static ec_call call_of(const ec_launch *launch, const uint32_t *tensors, uint32_t count) {
  return (ec_call){.tensors = tensors,
                   .pointer_count = count,
                   .work_items = 1,
                   .operator_name = "op",
                   .schedule = "test",
                   .nodes = "node",
                   .source = "",
                   .device = launch != NULL ? EC_DEVICE_OPENCL : EC_DEVICE_CPU,
                   .launch = launch};
}

void opencl_model_make(opencl_model *out) {
  const uint64_t bytes = OPENCL_ELEMENTS * sizeof(float);
  *out = (opencl_model){
      .constant = 3,
      .program = {text, "", "", sizeof text - 1, EC_DEVICE_OPENCL, EC_PROGRAM_OPENCL_C, 120,
                  0},
      .tensors = {[X] = {"x", 0, bytes, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
                  [W] = {"w", 0, bytes, EC_DTYPE_FLOAT32, EC_STORAGE_WEIGHTS},
                  [T] = {"t", 256, bytes, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA},
                  [TOTAL] = {"total", 512, 4, EC_DTYPE_FLOAT32, EC_STORAGE_ARENA}},
      .launches = {{.kind = EC_LAUNCH_TO_DEVICE},
                   {.kind = EC_LAUNCH_KERNEL,
                    .kernel = "ec_test_scale",
                    .constants = &out->constant,
                    .constant_count = 1,
                    .global_sizes = {OPENCL_ELEMENTS, 1, 1},
                    .local_sizes = {OPENCL_GROUP, 1, 1}},
                   {.kind = EC_LAUNCH_FROM_DEVICE}},
      .calls = {call_of(&out->launches[0], x_alone, 1),
                call_of(&out->launches[1], scale_tensors, 3),
                call_of(&out->launches[2], t_alone, 1), call_of(NULL, total_tensors, 2)},
  };
  out->calls[3].kernel = (ec_kernel)(void (*)(void))total;
  out->model = (ec_model){.magic = EC_MODEL_MAGIC,
                          .abi_version = EC_MODEL_ABI_VERSION,
                          .struct_bytes = sizeof(ec_model),
                          .name = "opencl",
                          .target = "any",
                          .required_features = "",
                          .tensors = out->tensors,
                          .calls = out->calls,
                          .inputs = inputs,
                          .outputs = outputs,
                          .tensor_count = OPENCL_TENSORS,
                          .call_count = OPENCL_CALLS,
                          .input_count = 1,
                          .output_count = 2,
                          .programs = &out->program,
                          .program_count = 1,
                          .arena_bytes = 640,
                          .weights_bytes = sizeof weights,
                          .weights_hash = 0,
                          .embedded_weights = &weights};
}

void opencl_model_read_images(opencl_model *model, uint32_t width) {
  const uint32_t height = (OPENCL_ELEMENTS / 4 + width - 1) / width;
  model->images[0] = (ec_image){0, width, height, 0};
  model->images[1] = (ec_image){1, width, height, 0};
  model->program.text = text_with_images;
  model->program.text_bytes = sizeof text_with_images - 1;
  model->launches[1].images = model->images;
  model->launches[1].image_count = OPENCL_IMAGES;
}

static const ec_term n_term[] = {{1, 1, {0}}};
static const ec_term bytes_term[] = {{sizeof(float), 1, {0}}};
static const ec_term one_term[] = {{1, 0, {0}}};
static const ec_term rounded_terms[] = {{1, 1, {0}}, {OPENCL_GROUP - 1, 0, {0}}};
static const ec_extent n_shape[] = {{n_term, 1, 1}};
static const ec_extent n_bytes[] = {{bytes_term, 1, 1}};
static const ec_extent n_groups[] = {
    {rounded_terms, 2, OPENCL_GROUP}, {one_term, 1, 1}, {one_term, 1, 1}};
static const ec_extent *const n_ports[] = {n_shape};

void opencl_model_make_dynamic(opencl_model *out) {
  opencl_model_make(out);
  out->launches[1].constant_count = 0;
  out->symbol = (ec_symbol){"n", 1, OPENCL_ELEMENTS, NULL, 0, 0};
  out->sized[0] = out->sized[2] = (ec_dynamic_call){n_bytes, NULL, NULL, 0, 0};
  out->sized[1] = (ec_dynamic_call){n_groups, n_shape, NULL, 1, 0};
  out->dynamic = (ec_dynamic){&out->symbol, out->sized, n_ports, n_ports, NULL, 1, 0};
  out->model.dynamic = &out->dynamic;
  out->model.call_count = OPENCL_CALLS - 1;
  out->model.output_count = 1;
}

void opencl_run_sized(ec_session *session, int64_t n) {
  float x[OPENCL_ELEMENTS];
  float t[OPENCL_ELEMENTS];
  for (int64_t i = 0; i < n; ++i) {
    x[i] = (float)i;
  }
  CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, &n, 1));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, (size_t)n * sizeof *x));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, t, (size_t)n * sizeof *t));
  for (int64_t i = 0; i < n; ++i) {
    CHECK(t[i] == x[i] * weights.values[i] + (float)n);
  }
}

void opencl_run_and_compare(ec_session *session, float seed) {
  float x[OPENCL_ELEMENTS];
  float t[OPENCL_ELEMENTS];
  float sum = 0;
  float expected_sum = 0;
  for (int i = 0; i < OPENCL_ELEMENTS; ++i) {
    x[i] = (float)i + seed;
  }
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, sizeof x));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, t, sizeof t));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 1, &sum, sizeof sum));
  for (int i = 0; i < OPENCL_ELEMENTS; ++i) {
    float expected = x[i] * weights.values[i] + 3;
    CHECK(t[i] == expected);
    expected_sum += expected;
  }
  CHECK(sum == expected_sum);
}
