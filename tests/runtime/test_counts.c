/* Dimensions that a call counts: shapes after a run, calls behind it, and counts that are
 * wrong. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "session_helpers.h"

/* x [MOST] -> kept [n], those that are positive; doubled [n]; pairs [min(n / 2, 2)]. */
enum { MOST = 6, MOST_PAIRS = 2 };
enum { X, COUNT, KEPT, DOUBLED, PAIRS, TENSORS };

static int64_t damaged; /* written in the place of the count where it is not UNDAMAGED */
static _Atomic uint32_t later_calls; /* that ran behind the one that counts */
static const int64_t UNDAMAGED = -1000;

static void keep(const float *x, float *kept, int64_t *count, int32_t lo, int32_t hi) {
  CHECK(lo == 0 && hi == 1);
  int64_t found = 0;
  for (int32_t i = 0; i < MOST; ++i) {
    if (x[i] > 0) {
      kept[found++] = x[i];
    }
  }
  *count = damaged != UNDAMAGED ? damaged : found;
}

static void twice(const float *kept, float *doubled, const int32_t *sizes, int32_t lo,
                  int32_t hi) {
  ++later_calls;
  CHECK(0 <= lo && lo < hi && hi <= sizes[0] && sizes[0] <= MOST);
  for (int32_t i = lo; i < hi; ++i) {
    doubled[i] = 2 * kept[i];
  }
}

static void pair(const float *doubled, float *pairs, int32_t lo, int32_t hi) {
  ++later_calls;
  CHECK(hi <= MOST_PAIRS);
  for (int32_t i = lo; i < hi; ++i) {
    pairs[i] = doubled[2 * i] + doubled[2 * i + 1];
  }
}

typedef struct counted_demo {
  ec_model model;
  ec_dynamic dynamic;
  ec_symbol symbols[2];
  ec_tensor tensors[TENSORS];
  ec_call calls[3];
  ec_dynamic_call sized[3];
  ec_count counts[2];
  ec_port inputs[1];
  ec_port outputs[3];
  ec_region regions[1];
} counted_demo;

static const uint32_t keep_tensors[] = {X, KEPT, COUNT};
static const uint32_t twice_tensors[] = {KEPT, DOUBLED};
static const uint32_t pair_tensors[] = {DOUBLED, PAIRS};
static const ec_term n_term[] = {{1, 1, {0}}};
static const ec_term pairs_term[] = {{1, 1, {1}}};
static const ec_extent n_shape[] = {{n_term, 1, 1}};
static const ec_extent pairs_of_n[] = {{n_term, 1, 2}};
static const ec_extent pairs_shape[] = {{pairs_term, 1, 1}};
static const ec_extent *const input_shapes[] = {NULL};
static const ec_extent *const output_shapes[] = {n_shape, n_shape, pairs_shape};

static ec_call call(ec_kernel kernel, const uint32_t *tensors, uint32_t count,
                    uint32_t items) {
  return (ec_call){.kernel = kernel,
                   .tensors = tensors,
                   .pointer_count = count,
                   .work_items = items,
                   .operator_name = "op",
                   .schedule = "test",
                   .nodes = "node",
                   .source = ""};
}

static ec_tensor floats(const char *name, uint64_t offset, uint64_t elements) {
  return (ec_tensor){name, offset, elements * sizeof(float), EC_DTYPE_FLOAT32,
                     EC_STORAGE_ARENA};
}

static void make(counted_demo *demo) {
  damaged = UNDAMAGED;
  later_calls = 0;
  *demo = (counted_demo){
      .symbols = {{"n", 0, MOST, NULL, 1, 0}, {"pairs", 0, MOST_PAIRS, pairs_of_n, 0, 0}},
      .tensors = {floats("x", 0, MOST),
                  {"count", 128, sizeof(int64_t), EC_DTYPE_INT64, EC_STORAGE_ARENA},
                  floats("kept", 256, MOST),
                  floats("doubled", 384, MOST),
                  floats("pairs", 512, MOST_PAIRS)},
      .calls = {call((ec_kernel)(void (*)(void))keep, keep_tensors, 3, 1),
                call((ec_kernel)(void (*)(void))twice, twice_tensors, 2, MOST),
                call((ec_kernel)(void (*)(void))pair, pair_tensors, 2, MOST_PAIRS)},
      .counts = {{0, 0, COUNT, 0}},
      .inputs = {{"x", X, EC_DTYPE_FLOAT32, 1, 0, {MOST}}},
      .outputs = {{"kept", KEPT, EC_DTYPE_FLOAT32, 1, 0, {MOST}},
                  {"doubled", DOUBLED, EC_DTYPE_FLOAT32, 1, 0, {MOST}},
                  {"pairs", PAIRS, EC_DTYPE_FLOAT32, 1, 0, {MOST_PAIRS}}},
  };
  demo->sized[1] = (ec_dynamic_call){n_shape, n_shape, NULL, 1, 0};
  demo->sized[2] = (ec_dynamic_call){pairs_shape, NULL, NULL, 0, 0};
  demo->dynamic = (ec_dynamic){
      demo->symbols, demo->sized, input_shapes, output_shapes, demo->counts, 2, 1};
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
                           .input_count = 1,
                           .output_count = 3,
                           .arena_bytes = 640,
                           .regions = demo->regions,
                           .dynamic = &demo->dynamic};
}

static ec_session *open_demo(counted_demo *demo, uint32_t threads) {
  make(demo);
  ec_open_options options = ec_open_options_default();
  options.threads = threads;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&demo->model, &options, &session));
  return session;
}

static int64_t extent_of(const ec_session *session, uint32_t output) {
  int64_t shape[EC_MAX_RANK] = {0};
  uint32_t rank = 0;
  CHECK_STATUS(EC_OK, ec_session_output_shape(session, output, shape, &rank));
  CHECK_EQUAL(1, rank);
  return shape[0];
}

/* The first `n` of x are positive. */
static void fill(ec_session *session, int64_t n) {
  float x[MOST];
  for (int64_t i = 0; i < MOST; ++i) {
    x[i] = i < n ? (float)(i + 1) : -1.0F;
  }
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, sizeof x));
}

static void check_results(const ec_session *session, int64_t n) {
  int64_t pairs = n / 2 < MOST_PAIRS ? n / 2 : MOST_PAIRS;
  CHECK_EQUAL(n, extent_of(session, 0));
  CHECK_EQUAL(n, extent_of(session, 1));
  CHECK_EQUAL(pairs, extent_of(session, 2));
  float doubled[MOST] = {0};
  float sums[MOST_PAIRS] = {0};
  uint64_t bytes = (uint64_t)n * sizeof doubled[0];
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 1, doubled, bytes));
  CHECK_STATUS(EC_OK,
               ec_session_get_output(session, 2, sums, (uint64_t)pairs * sizeof sums[0]));
  for (int64_t i = 0; i < n; ++i) {
    CHECK(doubled[i] == (float)(2 * (i + 1)));
  }
  for (int64_t i = 0; i < pairs; ++i) {
    CHECK(sums[i] == doubled[2 * i] + doubled[2 * i + 1]);
  }
  CHECK_STATUS(EC_ERROR_INPUT_BYTES, ec_session_get_output(session, 1, doubled, bytes + 4));
}

static void test_counts(void) {
  for (uint32_t threads = 1; threads <= 3; ++threads) {
    counted_demo demo;
    ec_session *session = open_demo(&demo, threads);
    CHECK_EQUAL(MOST, extent_of(session, 0)); /* before the first run the most there can be */
    for (int64_t n = MOST; n >= 0; --n) {
      fill(session, n);
      later_calls = 0;
      CHECK_STATUS(EC_OK, ec_session_run(session));
      check_results(session, n);
      CHECK(n != 0 || later_calls == 0);
      fill(session, n);
      ec_call_profile profiles[3] = {{0, 0, 0}};
      CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, 3));
      check_results(session, n);
      fill(session, n);
      CHECK_STATUS(EC_OK, ec_session_run_prefix(session, 1));
      CHECK_EQUAL(n, extent_of(session, 0));
    }
    ec_session_close(session);
  }
}

static void test_wrong_counts(void) {
  static const int64_t wrong[] = {-1, MOST + 1, INT64_MIN, INT64_MAX, (int64_t)1 << 32};
  counted_demo demo;
  ec_session *session = open_demo(&demo, 2);
  fill(session, 3);
  CHECK_STATUS(EC_OK, ec_session_run(session));
  later_calls = 0;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; ++i) {
    damaged = wrong[i];
    fill(session, 3);
    CHECK_STATUS(EC_ERROR_COUNT, ec_session_run(session));
    CHECK_MESSAGE("node makes dimension 'n'");
    CHECK_EQUAL(3, extent_of(session, 0)); /* as after the run before */
    ec_call_profile profiles[3] = {{0, 0, 0}};
    CHECK_STATUS(EC_ERROR_COUNT, ec_session_run_profiled(session, profiles, 3));
    CHECK_STATUS(EC_ERROR_COUNT, ec_session_run_prefix(session, 1));
  }
  CHECK_EQUAL(0, later_calls);
  damaged = UNDAMAGED;
  fill(session, 5); /* a run that fails does no harm to the next */
  CHECK_STATUS(EC_OK, ec_session_run(session));
  check_results(session, 5);
  demo.symbols[0].minimum = 2; /* bounds may begin above 0 */
  fill(session, 1);
  CHECK_STATUS(EC_ERROR_COUNT, ec_session_run(session));
  CHECK_MESSAGE("is built for 2 to 6");
  ec_session_close(session);
}

#define CHECK_BAD(part, change)         \
  do {                                  \
    make(&demo);                        \
    change;                             \
    check_refused(&demo.model, (part)); \
  } while (0)

static void test_descriptors(void) {
  counted_demo demo;
  static const ec_extent *const counted_input[] = {n_shape};
  static const ec_region loop = {EC_REGION_LOOP, 0, 1, EC_NO_TENSOR, 1, COUNT,
                                 EC_NO_TENSOR,   0, 1};
  CHECK_BAD("sound bounds", demo.symbols[0].minimum = -1);
  CHECK_BAD("sound bounds", demo.symbols[0].is_counted = 2);
  CHECK_BAD("sound bounds", demo.symbols[0].is_counted = 0);
  CHECK_BAD("sound bounds", demo.symbols[1].is_counted = 1);
  CHECK_BAD("counts of 'demo'", demo.counts[0].symbol = 1);
  CHECK_BAD("counts of 'demo'", demo.counts[0].symbol = 2);
  CHECK_BAD("counts of 'demo'", demo.counts[0].call = 3);
  CHECK_BAD("counts of 'demo'", demo.counts[0].tensor = TENSORS);
  CHECK_BAD("counts of 'demo'", demo.counts[0].tensor = KEPT);
  CHECK_BAD("counts of 'demo'", demo.counts[0].reserved = 1);
  CHECK_BAD("counts of 'demo'", demo.tensors[COUNT].dtype = EC_DTYPE_UINT64);
  CHECK_BAD("counts of 'demo'", demo.dynamic.count_count = 0);
  CHECK_BAD("counts of 'demo'", demo.dynamic.counts = NULL);
  CHECK_BAD("counts of 'demo'", demo.dynamic.count_count = 2; demo.counts[1] = demo.counts[0]);
  CHECK_BAD("dynamic shape of port 'x'", demo.dynamic.inputs = counted_input);
  CHECK_BAD("counts of 'demo'", demo.calls[0].strip = 1;
            demo.calls[0].strip_flags = EC_STRIP_BEGINS; demo.calls[1].strip = 2);
  CHECK_BAD("counts of 'demo'", demo.model.region_count = 1; demo.regions[0] = loop);
}

int main(void) {
  test_counts();
  test_wrong_counts();
  test_descriptors();
  return 0;
}
