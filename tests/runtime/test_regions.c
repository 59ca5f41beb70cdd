/* Branches and loops: what runs how often, what is counted, and which descriptors are refused.
 */
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "session_helpers.h"

/* while (go) for (round < limit) { trace(1, round); if (pick) trace(2) else trace(3); step }
 * where `step` makes `go` false after the third round of the outer loop. */
enum { LIMIT, PICK, GO, OUTER, INNER, TRACE, TENSORS };
enum { CALLS = 4, REGIONS = 4, MOST = 64 };

typedef struct trace_log {
  int64_t length;
  int64_t entries[MOST];
} trace_log;

static void note(trace_log *log, int64_t entry) {
  if (log->length < MOST) {
    log->entries[log->length++] = entry;
  }
}

static void trace_round(void *log, void *inner, int32_t lo, int32_t hi) {
  (void)lo;
  (void)hi;
  note(log, 100 + *(const int64_t *)inner);
}

static void trace_then(void *log, int32_t lo, int32_t hi) {
  (void)lo;
  (void)hi;
  note(log, 2);
}

static void trace_else(void *log, int32_t lo, int32_t hi) {
  (void)lo;
  (void)hi;
  note(log, 3);
}

static void step(void *go, void *outer, int32_t lo, int32_t hi) {
  (void)lo;
  (void)hi;
  *(uint8_t *)go = *(const int64_t *)outer < 2;
}

static const uint32_t round_tensors[] = {TRACE, INNER};
static const uint32_t trace_tensors[] = {TRACE};
static const uint32_t step_tensors[] = {GO, OUTER};

static const int64_t shape_of_trace = MOST + 1;

typedef struct looping {
  ec_tensor tensors[TENSORS];
  ec_call calls[CALLS];
  ec_region regions[REGIONS];
  ec_port inputs[4];
  ec_port outputs[1];
  ec_model model;
} looping;

static ec_call call_of(ec_kernel kernel, const uint32_t *tensors, uint32_t count) {
  return (ec_call){.kernel = kernel,
                   .tensors = tensors,
                   .pointer_count = count,
                   .work_items = 1,
                   .operator_name = "Trace",
                   .schedule = "test",
                   .nodes = "node",
                   .source = ""};
}

static void make(looping *out) {
  *out = (looping){
      .tensors =
          {
              [LIMIT] = {"limit", 0, 8, EC_DTYPE_INT64, EC_STORAGE_ARENA},
              [PICK] = {"pick", 128, 1, EC_DTYPE_BOOL, EC_STORAGE_ARENA},
              [GO] = {"go", 256, 1, EC_DTYPE_BOOL, EC_STORAGE_ARENA},
              [OUTER] = {"outer", 384, 8, EC_DTYPE_INT64, EC_STORAGE_ARENA},
              [INNER] = {"inner", 512, 8, EC_DTYPE_INT64, EC_STORAGE_ARENA},
              [TRACE] = {"trace", 640, sizeof(trace_log), EC_DTYPE_INT64, EC_STORAGE_ARENA},
          },
      .calls =
          {
              call_of((ec_kernel)trace_round, round_tensors, 2),
              call_of((ec_kernel)trace_then, trace_tensors, 1),
              call_of((ec_kernel)trace_else, trace_tensors, 1),
              call_of((ec_kernel)step, step_tensors, 2),
          },
      .regions =
          {
              {EC_REGION_LOOP, 0, 4, GO, 1, EC_NO_TENSOR, OUTER, 0, 10},
              {EC_REGION_LOOP, 0, 3, EC_NO_TENSOR, 1, LIMIT, INNER, 0, 5},
              {EC_REGION_BRANCH, 1, 2, PICK, 1, EC_NO_TENSOR, EC_NO_TENSOR, 0, 0},
              {EC_REGION_BRANCH, 2, 3, PICK, 0, EC_NO_TENSOR, EC_NO_TENSOR, 0, 0},
          },
      .inputs =
          {
              {"limit", LIMIT, EC_DTYPE_INT64, 0, 0, {0}},
              {"pick", PICK, EC_DTYPE_BOOL, 0, 0, {0}},
              {"go", GO, EC_DTYPE_BOOL, 0, 0, {0}},
              {"trace", TRACE, EC_DTYPE_INT64, 1, 0, {shape_of_trace}},
          },
      .outputs = {{"trace", TRACE, EC_DTYPE_INT64, 1, 0, {shape_of_trace}}},
  };
  out->model = (ec_model){
      .magic = EC_MODEL_MAGIC,
      .abi_version = EC_MODEL_ABI_VERSION,
      .struct_bytes = sizeof(ec_model),
      .name = "looping",
      .target = "any",
      .required_features = "",
      .tensors = out->tensors,
      .calls = out->calls,
      .inputs = out->inputs,
      .outputs = out->outputs,
      .regions = out->regions,
      .tensor_count = TENSORS,
      .call_count = CALLS,
      .region_count = REGIONS,
      .input_count = 4,
      .output_count = 1,
      .arena_bytes = 640 + sizeof(trace_log) + 64,
  };
}

static ec_session *open(looping *of) {
  make(of);
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&of->model, NULL, &session));
  return session;
}

static void feed(ec_session *session, int64_t limit, uint8_t pick, uint8_t go) {
  static const trace_log empty = {0};
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, &limit, sizeof limit));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 1, &pick, sizeof pick));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 2, &go, sizeof go));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 3, &empty, sizeof empty));
}

/* Three outer rounds of `limit` inner ones, or none. */
static void check_trace(const ec_session *session, int64_t limit, uint8_t pick, int rounds) {
  trace_log log;
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, &log, sizeof log));
  CHECK_EQUAL(2 * limit * rounds, log.length);
  for (int64_t i = 0; i < log.length; i += 2) {
    CHECK_EQUAL(100 + (i / 2) % limit, log.entries[i]);
    CHECK_EQUAL(pick != 0 ? 2 : 3, log.entries[i + 1]);
  }
}

static void test_runs(void) {
  looping of;
  ec_session *session = open(&of);
  for (int64_t limit = 0; limit <= 5; ++limit) {
    for (uint8_t pick = 0; pick <= 2; ++pick) {
      feed(session, limit, pick, 1);
      CHECK_STATUS(EC_OK, ec_session_run(session));
      check_trace(session, limit, pick, 3);
    }
  }
  feed(session, 4, 0, 0); /* not even once */
  CHECK_STATUS(EC_OK, ec_session_run(session));
  check_trace(session, 0, 0, 0);
  feed(session, -7, 0, 1);
  CHECK_STATUS(EC_OK, ec_session_run(session));
  check_trace(session, 0, 0, 0);
  ec_session_close(session);
}

static void test_too_many_rounds(void) {
  looping of;
  ec_session *session = open(&of);
  feed(session, 6, 1, 1);
  CHECK_STATUS(EC_ERROR_ROUNDS, ec_session_run(session));
  CHECK_MESSAGE("more than 5 rounds");
  feed(session, INT64_MAX, 1, 1);
  CHECK_STATUS(EC_ERROR_ROUNDS, ec_session_run(session));
  feed(session, 5, 1, 1);
  CHECK_STATUS(EC_OK, ec_session_run(session));
  check_trace(session, 5, 1, 3);
  ec_session_close(session);
}

static void test_profile(void) {
  looping of;
  ec_session *session = open(&of);
  ec_call_profile profiles[CALLS] = {{0}};
  feed(session, 4, 1, 1);
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, CALLS));
  check_trace(session, 4, 1, 3);
  CHECK_EQUAL(12, profiles[0].runs);
  CHECK_EQUAL(12, profiles[1].runs);
  CHECK_EQUAL(0, profiles[2].runs);
  CHECK_EQUAL(3, profiles[3].runs);
  ec_session_close(session);
}

/* Of a loop that is cut, the first round. */
static void test_prefix(void) {
  looping of;
  ec_session *session = open(&of);
  feed(session, 4, 1, 1);
  CHECK_STATUS(EC_OK, ec_session_run_prefix(session, 1));
  trace_log log;
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, &log, sizeof log));
  CHECK_EQUAL(1, log.length);
  feed(session, 4, 1, 1);
  CHECK_STATUS(EC_OK, ec_session_run_prefix(session, 3));
  check_trace(session, 4, 1, 1);
  ec_session_close(session);
}

#define CHECK_BAD(part, statement)    \
  do {                                \
    looping of;                       \
    make(&of);                        \
    ec_region *regions = of.regions;  \
    statement;                        \
    (void)regions;                    \
    check_refused(&of.model, (part)); \
  } while (0)

static void test_spoiled(void) {
  CHECK_BAD("lacks its regions", of.model.regions = NULL);
  CHECK_BAD("region 1 is calls 3 to 3 of 4", regions[1].first_call = 3);
  CHECK_BAD("region 0 is calls 0 to 5 of 4", regions[0].end_call = 5);
  CHECK_BAD("half inside", regions[3].end_call = 4);
  CHECK_BAD("out of order", regions[2].first_call = 2; regions[2].end_call = 3;
            regions[3].first_call = 1);
  CHECK_BAD("unknown kind 4", regions[2].kind = 4);
  CHECK_BAD("a branch cannot have", regions[2].condition = TENSORS);
  CHECK_BAD("a branch cannot have", regions[2].condition = EC_NO_TENSOR);
  CHECK_BAD("a branch cannot have", regions[2].condition = LIMIT);
  CHECK_BAD("a branch cannot have", regions[2].expected = 2);
  CHECK_BAD("a branch cannot have", regions[2].counter = INNER);
  CHECK_BAD("a branch cannot have", regions[2].limit = LIMIT);
  CHECK_BAD("a branch cannot have", regions[2].most_rounds = 1);
  CHECK_BAD("a branch cannot have", regions[2].reserved = 1);
  CHECK_BAD("a loop cannot have", regions[1].limit = EC_NO_TENSOR);
  CHECK_BAD("a loop cannot have", regions[1].limit = GO);
  CHECK_BAD("a loop cannot have", regions[1].limit = TENSORS + 1);
  CHECK_BAD("a loop cannot have", regions[1].counter = PICK);
  CHECK_BAD("a loop cannot have", regions[1].counter = TENSORS);
  CHECK_BAD("a loop cannot have", regions[1].expected = 0);
  CHECK_BAD("a loop cannot have", regions[0].condition = LIMIT);
  CHECK_BAD("a loop cannot have", regions[0].most_rounds = UINT64_MAX);
  CHECK_BAD("a loop cannot have", of.tensors[INNER].bytes = 16);
  CHECK_BAD("a loop cannot have", of.tensors[INNER].storage = EC_STORAGE_WEIGHTS;
            of.model.weights_bytes = 1024);
  CHECK_BAD("region 2 begins or ends within a group of strips", of.calls[1].strip = 1;
            of.calls[1].strip_flags = EC_STRIP_BEGINS; of.calls[2].strip = 2);
  CHECK_BAD("region 1 begins or ends within a group of strips", of.calls[2].strip = 1;
            of.calls[2].strip_flags = EC_STRIP_BEGINS; of.calls[3].strip = 2);
}

static void test_required(void) {
  looping of;
  make(&of);
  of.regions[2].kind = EC_REGION_REQUIRED;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&of.model, NULL, &session));
  feed(session, 3, 0, 1);
  CHECK_STATUS(EC_ERROR_BRANCH, ec_session_run(session));
  CHECK_MESSAGE("the inputs choose the other branch at node");
  feed(session, 3, 1, 1);
  CHECK_STATUS(EC_OK, ec_session_run(session));
  check_trace(session, 3, 1, 3);
  ec_session_close(session);
}

static void test_depth(void) {
  looping of;
  ec_region nested[EC_MAX_REGION_DEPTH + 1];
  make(&of);
  for (uint32_t i = 0; i <= EC_MAX_REGION_DEPTH; ++i) {
    nested[i] = of.regions[2];
  }
  of.model.regions = nested;
  of.model.region_count = EC_MAX_REGION_DEPTH;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&of.model, NULL, &session));
  feed(session, 1, 1, 1);
  CHECK_STATUS(EC_OK, ec_session_run(session));
  ec_session_close(session);
  of.model.region_count = EC_MAX_REGION_DEPTH + 1;
  check_refused(&of.model, "inside more than 16");
}

int main(void) {
  test_runs();
  test_too_many_rounds();
  test_profile();
  test_prefix();
  test_spoiled();
  test_required();
  test_depth();
  return 0;
}
