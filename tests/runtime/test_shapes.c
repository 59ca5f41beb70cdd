/* Dimensions that differ from run to run: shapes set and asked, kernels that read sizes or are
 * repeated, bounds, and descriptors that promise more than they hold. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "session_helpers.h"

/* x [n, 4], gain [n] -> y [n, 4] = x * gain; sum [n]; half [n / 2] = every second sum. */
enum { MOST = 9, COLUMNS = 4 };
enum { X, GAIN, Y, SUM, HALF, TENSORS };

static void scale(const float *x, const float *gain, float *y, const int32_t *sizes,
                  int32_t lo, int32_t hi) {
  CHECK(hi <= sizes[0]); /* items are rows */
  for (int32_t row = lo; row < hi; ++row) {
    for (int32_t column = 0; column < sizes[1] / sizes[0]; ++column) {
      y[row * COLUMNS + column] = x[row * COLUMNS + column] * gain[row];
    }
  }
}

static void sum_row(const float *y, float *sum, int32_t lo, int32_t hi) {
  CHECK(lo == 0 && hi == 1); /* repeated for each row */
  sum[0] = y[0] + y[1] + y[2] + y[3];
}

static void pick(const float *sum, float *half, float *scratch, const int32_t *sizes,
                 int32_t lo, int32_t hi) {
  for (int32_t i = lo; i < hi; ++i) {
    CHECK(i < sizes[0]);
    scratch[0] = sum[2 * i + 1];
    half[i] = scratch[0];
  }
}

typedef struct dynamic_demo {
  ec_model model;
  ec_dynamic dynamic;
  ec_symbol symbols[2];
  ec_tensor tensors[TENSORS];
  ec_call calls[3];
  ec_dynamic_call sized[3];
  uint64_t strides[2];
  ec_port inputs[2];
  ec_port outputs[3];
} dynamic_demo;

static const uint32_t scale_tensors[] = {X, GAIN, Y};
static const uint32_t sum_tensors[] = {Y, SUM};
static const uint32_t pick_tensors[] = {SUM, HALF};
static const ec_term n_term[] = {{1, 1, {0}}};
static const ec_term columns_term[] = {{COLUMNS, 0, {0}}};
static const ec_term elements_term[] = {{COLUMNS, 1, {0}}};
static const ec_term half_term[] = {{1, 1, {1}}};
static const ec_extent n_rows[] = {{n_term, 1, 1}};
static const ec_extent half_of_n[] = {{n_term, 1, 2}};
static const ec_extent half_shape[] = {{half_term, 1, 1}};
static const ec_extent rows_shape[] = {{n_term, 1, 1}, {columns_term, 1, 1}};
static const ec_extent scale_sizes[] = {{n_term, 1, 1}, {elements_term, 1, 1}};
static const ec_extent *const input_shapes[] = {rows_shape, n_rows};
static const ec_extent *const output_shapes[] = {rows_shape, n_rows, half_shape};

static ec_tensor tensor(const char *name, uint64_t offset, uint64_t elements) {
  return (ec_tensor){name, offset, elements * sizeof(float), EC_DTYPE_FLOAT32,
                     EC_STORAGE_ARENA};
}

static ec_call call(ec_kernel kernel, const uint32_t *tensors, uint32_t count,
                    uint32_t items) {
  return (ec_call){.kernel = kernel,
                   .tensors = tensors,
                   .pointer_count = count,
                   .work_items = items,
                   .operator_name = "op",
                   .schedule = "test",
                   .nodes = "",
                   .source = ""};
}

static void make(dynamic_demo *demo) {
  *demo = (dynamic_demo){
      .symbols = {{"n", 1, MOST, NULL, 0, 0}, {"n/2", 0, MOST / 2, half_of_n, 0, 0}},
      .tensors = {tensor("x", 0, MOST * COLUMNS), tensor("gain", 256, MOST),
                  tensor("y", 384, MOST * COLUMNS), tensor("sum", 640, MOST),
                  tensor("half", 768, MOST / 2)},
      .calls = {call((ec_kernel)(void (*)(void))scale, scale_tensors, 3, MOST),
                call((ec_kernel)(void (*)(void))sum_row, sum_tensors, 2, 1),
                call((ec_kernel)(void (*)(void))pick, pick_tensors, 2, MOST / 2)},
      .strides = {COLUMNS * sizeof(float), sizeof(float)},
      .inputs = {{"x", X, EC_DTYPE_FLOAT32, 2, 0, {MOST, COLUMNS}},
                 {"gain", GAIN, EC_DTYPE_FLOAT32, 1, 0, {MOST}}},
      .outputs = {{"y", Y, EC_DTYPE_FLOAT32, 2, 0, {MOST, COLUMNS}},
                  {"sum", SUM, EC_DTYPE_FLOAT32, 1, 0, {MOST}},
                  {"half", HALF, EC_DTYPE_FLOAT32, 1, 0, {MOST / 2}}},
  };
  demo->sized[0] = (ec_dynamic_call){n_rows, scale_sizes, NULL, 2, 0};
  demo->sized[1] = (ec_dynamic_call){n_rows, NULL, demo->strides, 0, 0};
  demo->sized[2] = (ec_dynamic_call){half_shape, half_shape, NULL, 1, 0};
  demo->calls[2].workspace_bytes = sizeof(float);
  demo->dynamic =
      (ec_dynamic){demo->symbols, demo->sized, input_shapes, output_shapes, NULL, 2, 0};
  demo->model = (ec_model){.magic = EC_MODEL_MAGIC,
                           .abi_version = EC_MODEL_ABI_VERSION,
                           .struct_bytes = sizeof(ec_model),
                           .name = "demo",
                           .target = "any",
                           .required_features = "",
                           .tensors = demo->tensors,
                           .calls = demo->calls,
                           .inputs = demo->inputs,
                           .outputs = demo->outputs,
                           .tensor_count = TENSORS,
                           .call_count = 3,
                           .input_count = 2,
                           .output_count = 3,
                           .arena_bytes = 1024,
                           .workspace_bytes = sizeof(float),
                           .dynamic = &demo->dynamic};
}

static ec_session *open_demo(dynamic_demo *demo, uint32_t threads) {
  make(demo);
  ec_open_options options = ec_open_options_default();
  options.threads = threads;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&demo->model, &options, &session));
  return session;
}

static void check_output(const ec_session *session, uint32_t index, uint32_t rank,
                         int64_t rows) {
  int64_t shape[EC_MAX_RANK] = {0};
  uint32_t found = 0;
  CHECK_STATUS(EC_OK, ec_session_output_shape(session, index, shape, &found));
  CHECK_EQUAL(rank, found);
  CHECK_EQUAL(rows, shape[0]);
}

static void run_at(ec_session *session, int64_t n) {
  float x[MOST * COLUMNS];
  float gain[MOST];
  for (int64_t i = 0; i < n * COLUMNS; ++i) {
    x[i] = (float)(i + n);
  }
  for (int64_t i = 0; i < n; ++i) {
    gain[i] = (float)(i - 2);
  }
  uint64_t rows = (uint64_t)n;
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, rows * COLUMNS * sizeof x[0]));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 1, gain, rows * sizeof gain[0]));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  check_output(session, 0, 2, n);
  check_output(session, 1, 1, n);
  check_output(session, 2, 1, n / 2);
  float sum[MOST];
  float half[MOST];
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 1, sum, rows * sizeof sum[0]));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 2, half, rows / 2 * sizeof half[0]));
  for (int64_t i = 0; i < n; ++i) {
    float expected = gain[i] * (x[4 * i] + x[4 * i + 1] + x[4 * i + 2] + x[4 * i + 3]);
    CHECK(sum[i] == expected);
    CHECK(i % 2 == 0 || half[i / 2] == expected);
  }
}

static void test_sizes(void) {
  for (uint32_t threads = 1; threads <= 3; ++threads) {
    dynamic_demo demo;
    ec_session *session = open_demo(&demo, threads);
    run_at(session, MOST); /* a session begins with the largest */
    for (int64_t n = 1; n <= MOST; ++n) {
      const int64_t shape[] = {n, COLUMNS};
      CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, shape, 2));
      int64_t gain_shape[EC_MAX_RANK];
      uint32_t rank = 0;
      CHECK_STATUS(EC_OK, ec_session_input_shape(session, 1, gain_shape, &rank));
      CHECK_EQUAL(1, rank);
      CHECK_EQUAL(n, gain_shape[0]); /* the same symbol */
      run_at(session, n);
    }
    ec_session_close(session);
  }
}

/* Strip 1: sums, repeated for each row; strip 2: every second element of y, as sizes say. */
static void test_strips(void) {
  static const uint32_t tensors[] = {Y, HALF};
  for (uint32_t threads = 1; threads <= 2; ++threads) {
    dynamic_demo demo;
    make(&demo);
    demo.calls[1].strip = 1;
    demo.calls[1].strip_flags = EC_STRIP_BEGINS;
    demo.calls[2].strip = 2;
    demo.calls[2].tensors = tensors;
    ec_open_options options = ec_open_options_default();
    options.threads = threads;
    ec_session *session = NULL;
    CHECK_STATUS(EC_OK, ec_session_open(&demo.model, &options, &session));
    float x[MOST * COLUMNS];
    float gain[MOST];
    float half[MOST];
    float sum[MOST];
    for (uint32_t i = 0; i < MOST * COLUMNS; ++i) {
      x[i] = (float)i;
      gain[i / COLUMNS] = 2;
    }
    for (int64_t n = MOST; n >= 1; --n) {
      const int64_t shape[] = {n, COLUMNS};
      uint64_t row_bytes = (uint64_t)n * sizeof x[0];
      uint64_t half_bytes = (uint64_t)n / 2 * sizeof x[0];
      CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, shape, 2));
      CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, COLUMNS * row_bytes));
      CHECK_STATUS(EC_OK, ec_session_set_input(session, 1, gain, row_bytes));
      CHECK_STATUS(EC_OK, ec_session_run(session));
      CHECK_STATUS(EC_OK, ec_session_get_output(session, 1, sum, row_bytes));
      CHECK_STATUS(EC_OK, ec_session_get_output(session, 2, half, half_bytes));
      for (int64_t i = 0; i < n; ++i) {
        CHECK(sum[i] == (float)(32 * i + 12));
        CHECK(i >= n / 2 || half[i] == (float)(4 * i + 2));
      }
    }
    ec_session_close(session);
  }
}

static void test_refusals(void) {
  dynamic_demo demo;
  ec_session *session = open_demo(&demo, 1);
  const int64_t fits[] = {3, COLUMNS};
  CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, fits, 2));
  const int64_t bad[][2] = {{0, 4}, {-1, 4}, {MOST + 1, 4}, {3, 5}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    CHECK_STATUS(EC_ERROR_SHAPE, ec_session_set_input_shape(session, 0, bad[i], 2));
  }
  CHECK_MESSAGE("dimension 1 of 'x' is 4, not 5");
  CHECK_STATUS(EC_ERROR_SHAPE, ec_session_set_input_shape(session, 0, fits, 1));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_set_input_shape(session, 2, fits, 2));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_set_input_shape(session, 0, NULL, 2));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_set_input_shape(NULL, 0, fits, 2));
  float x[MOST * COLUMNS] = {0};
  CHECK_STATUS(EC_ERROR_INPUT_BYTES, ec_session_set_input(session, 0, x, sizeof x));
  run_at(session, 3); /* nothing of that changed it */
  int64_t shape[EC_MAX_RANK];
  uint32_t rank = 0;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_output_shape(session, 3, shape, &rank));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_input_shape(session, 0, NULL, &rank));
  ec_session_close(session);
}

/* Rows are twice the symbol. */
static void test_steps(void) {
  static const ec_term twice_term[] = {{2, 1, {0}}};
  static const ec_extent twice[] = {{twice_term, 1, 1}, {columns_term, 1, 1}};
  static const ec_extent *const inputs[] = {twice, twice};
  dynamic_demo demo;
  make(&demo);
  demo.symbols[0].maximum = MOST / 2;
  demo.dynamic.inputs = inputs;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&demo.model, NULL, &session));
  const int64_t odd[] = {3, COLUMNS};
  const int64_t none[] = {0, COLUMNS};
  const int64_t more[] = {MOST / 2 * 2 + 2, COLUMNS};
  CHECK_STATUS(EC_ERROR_SHAPE, ec_session_set_input_shape(session, 0, odd, 2));
  CHECK_MESSAGE("dimension 0 of 'x' ('n') is a multiple of 2 from 2 to");
  CHECK_STATUS(EC_ERROR_SHAPE, ec_session_set_input_shape(session, 0, none, 2));
  CHECK_STATUS(EC_ERROR_SHAPE, ec_session_set_input_shape(session, 0, more, 2));
  const int64_t even[] = {4, COLUMNS};
  CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, even, 2));
  int64_t shape[EC_MAX_RANK];
  uint32_t rank = 0;
  CHECK_STATUS(EC_OK, ec_session_input_shape(session, 1, shape, &rank));
  CHECK_EQUAL(4, shape[0]);
  CHECK_STATUS(EC_OK, ec_session_output_shape(session, 0, shape, &rank));
  CHECK_EQUAL(2, shape[0]);
  ec_session_close(session);
}

#define CHECK_BAD(part, change)         \
  do {                                  \
    make(&demo);                        \
    change;                             \
    check_refused(&demo.model, (part)); \
  } while (0)

static void test_descriptors(void) {
  dynamic_demo demo;
  static const ec_term far_symbol[] = {{1, 1, {7}}};
  static const ec_term many[] = {{1, EC_MAX_TERM_SYMBOLS + 1, {0}}};
  static const ec_term huge[] = {{INT64_MAX / 4, 1, {0}}};
  static const ec_extent far_items[] = {{far_symbol, 1, 1}};
  static const ec_extent many_items[] = {{many, 1, 1}};
  static const ec_extent huge_items[] = {{huge, 1, 1}};
  static const ec_extent no_divisor[] = {{n_term, 1, 0}};
  static const ec_term two_term[] = {{2, 0, {0}}};
  static const ec_extent two[] = {{two_term, 1, 1}};
  static const ec_extent narrow[] = {{n_term, 1, 1}, {two_term, 1, 1}};
  static const ec_extent *const derived_input[] = {rows_shape, half_shape};
  static const ec_extent *const other_columns[] = {narrow, n_rows};
  const uint64_t y_bytes = MOST * COLUMNS * sizeof(float);
  CHECK_BAD("sound bounds", demo.symbols[0].minimum = 0);
  CHECK_BAD("sound bounds", demo.symbols[0].minimum = MOST + 1);
  CHECK_BAD("sound bounds", demo.symbols[1].minimum = 1);
  CHECK_BAD("sound bounds", demo.symbols[1].reserved = 1);
  CHECK_BAD("can be too large", demo.sized[0].items = far_items);
  CHECK_BAD("can be too large", demo.sized[0].items = many_items);
  CHECK_BAD("can be too large", demo.sized[0].items = huge_items);
  CHECK_BAD("can be too large", demo.sized[0].items = no_divisor);
  CHECK_BAD("can be too large", demo.calls[0].work_items = MOST - 1);
  CHECK_BAD("can be too large", demo.symbols[0].maximum = MOST + 1;
            demo.symbols[1].maximum = 9);
  CHECK_BAD("malformed", demo.calls[0].first_item = 1);
  CHECK_BAD("malformed", demo.sized[0].sizes = NULL);
  CHECK_BAD("malformed", demo.sized[0].items = NULL);
  CHECK_BAD("repeats beyond", demo.strides[1] = 64);
  CHECK_BAD("repeats beyond", demo.strides[1] = UINT64_MAX / 4);
  /* Two repetitions: the second begins at the end of y, behind which there is not enough. */
  CHECK_BAD("repeats beyond tensor 'y'", demo.sized[1].items = two; demo.strides[0] = y_bytes;
            demo.tensors[Y].offset_bytes = 832; demo.model.arena_bytes = 832 + y_bytes + 64);
  CHECK_BAD("more sizes than there can be", demo.sized[1].size_count = UINT32_MAX;
            demo.sized[1].sizes = n_rows);
  CHECK_BAD("dynamic shape of port 'x'", demo.dynamic.inputs = other_columns);
  CHECK_BAD("dynamic shape of port 'gain'", demo.dynamic.inputs = derived_input);
  CHECK_BAD("lacks a table", demo.dynamic.calls = NULL);
  CHECK_BAD("lacks a table", demo.dynamic.symbol_count = 0);
}

/* A derived number is never more than its maximum. */
static void test_cap(void) {
  dynamic_demo demo;
  make(&demo);
  demo.symbols[1].maximum = 3;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&demo.model, NULL, &session));
  check_output(session, 2, 1, 3);
  const int64_t shape[] = {5, COLUMNS};
  CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, shape, 2));
  check_output(session, 2, 1, 2);
  ec_session_close(session);
}

int main(void) {
  test_sizes();
  test_cap();
  test_strips();
  test_refusals();
  test_steps();
  test_descriptors();
  return 0;
}
