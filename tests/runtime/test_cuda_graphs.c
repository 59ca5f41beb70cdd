/* Graphs of the CUDA back end where sizes differ from run to run. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "cuda_model.h"
#include "device/cuda/cu.h"
#include "device/cuda/cuda_graphs.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "opencl_model.h"

enum { COPIES_AND_KERNEL = OPENCL_CALLS - 1 };

static ec_session *open_dynamic(opencl_model *out_model) {
  ec_session *session = NULL;
  cuda_model_make_dynamic(out_model);
  cuda_driver.configure("");
  CHECK_STATUS(EC_OK, cuda_model_open(out_model, NULL, &session));
  return session;
}

static void close_all(ec_session *session) {
  ec_session_close(session);
  CHECK_EQUAL(0, cuda_driver.live());
}

/* What the driver has been asked for since it was configured. */
static void check_seen(unsigned graphs, unsigned alone, unsigned instances, unsigned updates) {
  CHECK_EQUAL(graphs, cuda_driver.graphs());
  CHECK_EQUAL(alone * COPIES_AND_KERNEL, cuda_driver.alone());
  CHECK_EQUAL(instances, cuda_driver.instances());
  CHECK_EQUAL(updates, cuda_driver.updates());
}

static void run_from_to(ec_session *session, int64_t first, int64_t last) {
  for (int64_t n = first; n <= last; ++n) {
    opencl_run_sized(session, n);
  }
}

/* Sizes that come once are started call by call, at the second time they get a graph. */
static void test_turns(void) {
  static const int64_t sizes[] = {9, 9, 24, 24, 9, 24, 9, 1, 9, OPENCL_ELEMENTS, 1, 1, 9};
  static const unsigned graphs[] = {0, 1, 1, 2, 3, 4, 5, 5, 6, 6, 7, 8, 9};
  static const unsigned instances[] = {0, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3};
  opencl_model of;
  ec_session *session = open_dynamic(&of);
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    opencl_run_sized(session, sizes[i]);
    CHECK_EQUAL(i + 1, cuda_driver.launches());
    check_seen(graphs[i], i + 1 - graphs[i], instances[i], 0);
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, COPIES_AND_KERNEL));
  CHECK_EQUAL(500, profiles[1].total_ns);
  CHECK_STATUS(EC_OK, ec_session_run_prefix(session, 2));
  CHECK_EQUAL(9, cuda_driver.graphs()); /* neither has one */
  close_all(session);
}

/* More sizes than graphs, in turns: those that have one keep it. */
static void test_more_sizes_than_graphs(void) {
  enum { SIZES = EC_CU_MOST_GRAPHS + 4, ROUNDS = 5 };
  opencl_model of;
  ec_session *session = open_dynamic(&of);
  for (unsigned round = 0; round < ROUNDS; ++round) {
    run_from_to(session, 1, SIZES);
    unsigned graphs = round * EC_CU_MOST_GRAPHS;
    check_seen(graphs, (round + 1) * SIZES - graphs, round > 0 ? EC_CU_MOST_GRAPHS : 0, 0);
  }
  close_all(session);
}

/* Sizes that came twice since a graph was used take it. */
static void test_other_sizes(void) {
  opencl_model of;
  ec_session *session = open_dynamic(&of);
  for (int64_t n = 1; n <= EC_CU_MOST_GRAPHS; ++n) {
    opencl_run_sized(session, n);
    opencl_run_sized(session, n);
  }
  check_seen(EC_CU_MOST_GRAPHS, EC_CU_MOST_GRAPHS, EC_CU_MOST_GRAPHS, 0);
  cuda_driver.configure("");
  opencl_run_sized(session, 20);
  check_seen(0, 1, 0, 0);
  opencl_run_sized(session, 20); /* takes the one of 1 */
  check_seen(1, 1, 0, 1);
  opencl_run_sized(session, 20);
  opencl_run_sized(session, 2);
  check_seen(3, 1, 0, 1);
  opencl_run_sized(session, 1); /* which is known still, but was used before 3 */
  check_seen(3, 2, 0, 1);
  opencl_run_sized(session, 1); /* and now takes the one of 3 */
  opencl_run_sized(session, 3);
  check_seen(4, 3, 0, 2);
  for (int64_t n = 21; n < 21 + EC_CU_MOST_GRAPHS; ++n) {
    run_from_to(session, n, n);
    run_from_to(session, n, n);
  }
  check_seen(4 + EC_CU_MOST_GRAPHS, 3 + EC_CU_MOST_GRAPHS, 0, 2 + EC_CU_MOST_GRAPHS);
  close_all(session);
}

/* Sizes of which each is forgotten before it comes again never get a graph. */
static void test_more_sizes_than_are_known(void) {
  opencl_model of;
  ec_session *session = open_dynamic(&of);
  for (unsigned round = 0; round < 3; ++round) {
    run_from_to(session, 1, EC_CU_MOST_SIZES + 1);
  }
  check_seen(0, 3 * (EC_CU_MOST_SIZES + 1), 0, 0);
  close_all(session);
}

static const ec_term n_term[] = {{1, 1, {0}}};
static const ec_term one_term[] = {{1, 0, {0}}};
static const ec_extent scale_sizes[] = {{n_term, 1, 1}};
/* The kernel runs with all elements alone. */
static const ec_extent all_or_none[] = {
    {n_term, 1, OPENCL_GROUP}, {one_term, 1, 1}, {n_term, 1, OPENCL_ELEMENTS}};

/* The kernel has nothing to do with fewer elements: t is what it was. */
static void run_without_kernel(ec_session *session, int64_t n) {
  float x[OPENCL_ELEMENTS] = {100};
  float before[OPENCL_ELEMENTS];
  float t[OPENCL_ELEMENTS];
  const size_t bytes = (size_t)n * sizeof *x;
  CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, &n, 1));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, before, bytes));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, bytes));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, t, bytes));
  CHECK(memcmp(t, before, bytes) == 0);
}

/* A graph of fewer calls is another one. */
static void test_calls_without_work(void) {
  opencl_model of;
  ec_session *session = NULL;
  cuda_model_make_dynamic(&of);
  of.sized[1].items = all_or_none;
  of.sized[1].sizes = scale_sizes;
  cuda_driver.configure("");
  CHECK_STATUS(EC_OK, cuda_model_open(&of, NULL, &session));
  opencl_run_sized(session, OPENCL_ELEMENTS);
  for (int64_t n = 1; n <= EC_CU_MOST_GRAPHS; ++n) {
    run_without_kernel(session, n);
    run_without_kernel(session, n);
  }
  CHECK_EQUAL(1, cuda_driver.launches());
  CHECK_EQUAL(EC_CU_MOST_GRAPHS, cuda_driver.instances());
  opencl_run_sized(session, OPENCL_ELEMENTS); /* came before 1 did */
  opencl_run_sized(session, OPENCL_ELEMENTS); /* takes the place of 1, which has no kernel */
  CHECK_EQUAL(3, cuda_driver.launches());
  CHECK_EQUAL(EC_CU_MOST_GRAPHS + 1, cuda_driver.instances());
  CHECK_EQUAL(0, cuda_driver.updates());
  CHECK_EQUAL(EC_CU_MOST_GRAPHS + 1, cuda_driver.graphs());
  for (int64_t n = 9; n < 9 + EC_CU_MOST_GRAPHS; ++n) { /* and other ones of that */
    run_without_kernel(session, n);
    run_without_kernel(session, n);
  }
  CHECK_EQUAL(EC_CU_MOST_GRAPHS + 2, cuda_driver.instances());
  CHECK_EQUAL(EC_CU_MOST_GRAPHS - 1, cuda_driver.updates());
  close_all(session);
}

/* A model whose elements another input counts, on the device: what comes in front of the count
 * has fixed sizes.
 *
 *   c -> to the device, c -> from the device, which counts
 *   x of c elements -> to the device, t = x * weights + c, t -> from the device
 */
enum { C = 3, COUNTED_CALLS = 5 };
typedef struct counted_model {
  opencl_model of;
  ec_call calls[COUNTED_CALLS];
  ec_dynamic_call sized[COUNTED_CALLS];
  ec_launch launches[2];
  ec_port inputs[2];
  ec_count count;
  const ec_extent *no_shapes[2];
} counted_model;

static const uint32_t c_alone[] = {C};

static void make_counted(counted_model *out) {
  *out = (counted_model){
      .launches = {{.kind = EC_LAUNCH_TO_DEVICE}, {.kind = EC_LAUNCH_FROM_DEVICE}},
      .count = {0, 1, C, 0}};
  opencl_model *of = &out->of;
  cuda_model_make_dynamic(of);
  of->tensors[C] = (ec_tensor){"c", 512, sizeof(int64_t), EC_DTYPE_INT64, EC_STORAGE_ARENA};
  of->symbol.is_counted = 1;
  out->inputs[0] = of->model.inputs[0];
  out->inputs[1] = (ec_port){"c", C, EC_DTYPE_INT64, 0, 0, {0}};
  for (uint32_t i = 0; i < 2; ++i) {
    out->calls[i] = of->calls[0];
    out->calls[i].tensors = c_alone;
    out->calls[i].launch = &out->launches[i];
  }
  for (uint32_t i = 2; i < COUNTED_CALLS; ++i) {
    out->calls[i] = of->calls[i - 2];
    out->sized[i] = of->sized[i - 2];
  }
  of->dynamic.calls = out->sized;
  of->dynamic.inputs = out->no_shapes;
  of->dynamic.counts = &out->count;
  of->dynamic.count_count = 1;
  of->model.calls = out->calls;
  of->model.call_count = COUNTED_CALLS;
  of->model.inputs = out->inputs;
  of->model.input_count = 2;
}

static void run_counted(ec_session *session, int64_t count) {
  float x[OPENCL_ELEMENTS];
  float t[OPENCL_ELEMENTS];
  for (int i = 0; i < OPENCL_ELEMENTS; ++i) {
    x[i] = (float)i;
  }
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, sizeof x));
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 1, &count, sizeof count));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  CHECK_STATUS(EC_OK, ec_session_get_output(session, 0, t, (size_t)count * sizeof *t));
  for (int64_t i = 0; i < count; ++i) {
    CHECK(t[i] == x[i] * (float)(i % 16 + 1) + (float)count);
  }
}

static void test_counted(void) {
  static const int64_t counts[] = {9, 9, 24, 9, 24, 24};
  static const unsigned graphs[] = {1, 3, 4, 6, 8, 10};
  static const unsigned instances[] = {1, 2, 2, 2, 3, 3};
  counted_model of;
  ec_session *session = NULL;
  make_counted(&of);
  cuda_driver.configure("");
  CHECK_STATUS(EC_OK, cuda_model_open(&of.of, NULL, &session));
  CHECK_EQUAL(1, cuda_driver.instances()); /* of the fixed part */
  for (unsigned i = 0; i < sizeof counts / sizeof *counts; ++i) {
    run_counted(session, counts[i]);
    CHECK_EQUAL(graphs[i], cuda_driver.graphs());
    CHECK_EQUAL(instances[i], cuda_driver.instances());
  }
  const int64_t too_many = OPENCL_ELEMENTS + 1;
  CHECK_STATUS(EC_OK, ec_session_set_input(session, 1, &too_many, sizeof too_many));
  CHECK_STATUS(EC_ERROR_COUNT, ec_session_run(session));
  run_counted(session, 9);
  close_all(session);
}

/* A session in which the next run of 20 elements records, in the place of another graph where
 * there are enough of them. */
static ec_session *open_before_recording(opencl_model *out_model, bool is_full) {
  ec_session *session = open_dynamic(out_model);
  for (int64_t n = 1; is_full && n <= EC_CU_MOST_GRAPHS; ++n) {
    opencl_run_sized(session, n);
    opencl_run_sized(session, n);
  }
  opencl_run_sized(session, 20);
  return session;
}

/* The run that records fails at each of its calls, and then works, but for lost devices. */
static void test_failing_records(uint32_t result, ec_status expected, bool is_lost) {
  opencl_model of;
  for (int is_full = 0; is_full < 2; ++is_full) {
    uint32_t failures = 0;
    for (uint32_t at = 1;; ++at) {
      ec_session *session = open_before_recording(&of, is_full != 0);
      cuda_driver.configure(cuda_failure(at, result));
      ec_status status = ec_session_run(session);
      if (status == EC_OK) {
        check_seen(1, 0, is_full != 0 ? 0 : 1, is_full != 0 ? 1 : 0);
        close_all(session);
        break;
      }
      failures += 1;
      CHECK_STATUS(expected, status);
      cuda_driver.configure("");
      for (int again = 0; again < 2; ++again) {
        if (is_lost) {
          CHECK_STATUS(expected, ec_session_run(session));
        } else {
          opencl_run_sized(session, 20);
        }
      }
      CHECK_EQUAL(is_lost ? 0 : 2, cuda_driver.graphs());
      close_all(session);
    }
    CHECK_EQUAL(9, failures); /* record 5, make ready 2, start, wait */
  }
}

/* No memory for a graph: its calls run without. */
static void test_memory_for_graphs(void) {
  enum { INSTANTIATE = 6, UPLOAD = 7 };
  opencl_model of;
  for (uint32_t at = 1; at <= UPLOAD + 2; ++at) {
    const bool is_of_graph = at == INSTANTIATE || at == UPLOAD;
    ec_session *session = open_before_recording(&of, false);
    cuda_driver.configure(cuda_failure(at, CU_OUT_OF_MEMORY));
    CHECK_STATUS(is_of_graph ? EC_OK : EC_ERROR_DEVICE_MEMORY, ec_session_run(session));
    cuda_driver.configure("");
    opencl_run_sized(session, 20);
    opencl_run_sized(session, 20);
    opencl_run_sized(session, 9);
    opencl_run_sized(session, 9);
    check_seen(is_of_graph ? 0 : 3, is_of_graph ? 4 : 1, is_of_graph ? 0 : 1 + (at < 6), 0);
    close_all(session);
  }
}

/* Those that there are make room instead. */
static void test_memory_for_more_graphs(void) {
  opencl_model of;
  ec_session *session = open_dynamic(&of);
  opencl_run_sized(session, 9);
  opencl_run_sized(session, 9);
  opencl_run_sized(session, 20);
  cuda_driver.configure(cuda_failure(6, CU_OUT_OF_MEMORY));
  opencl_run_sized(session, 20);
  check_seen(0, 1, 0, 0);
  opencl_run_sized(session, 20); /* 9 was used before 20 came first */
  check_seen(1, 1, 0, 1);
  opencl_run_sized(session, 9);
  opencl_run_sized(session, 20);
  opencl_run_sized(session, 9); /* each of them in turns: 20 keeps it */
  check_seen(2, 3, 0, 1);
  close_all(session);
}

/* Each has graphs of its own. */
static void test_two_sessions(void) {
  opencl_model of;
  opencl_model other_of;
  ec_session *one = open_dynamic(&of);
  ec_session *other = open_dynamic(&other_of);
  for (unsigned i = 0; i < 3; ++i) {
    opencl_run_sized(one, 9);
    opencl_run_sized(other, 9);
  }
  check_seen(4, 2, 2, 0);
  ec_session_close(one);
  opencl_run_sized(other, 9);
  check_seen(5, 2, 2, 0);
  close_all(other);
}

int main(void) {
  cuda_driver_load();
  test_turns();
  test_more_sizes_than_graphs();
  test_other_sizes();
  test_more_sizes_than_are_known();
  test_calls_without_work();
  test_counted();
  test_failing_records(CU_LAUNCH_OUT_OF_RESOURCES, EC_ERROR_DEVICE_MEMORY, false);
  test_failing_records(CU_ILLEGAL_ADDRESS, EC_ERROR_DEVICE_LOST, true);
  test_failing_records(999, EC_ERROR_DEVICE, false);
  test_memory_for_graphs();
  test_memory_for_more_graphs();
  test_two_sessions();
  return 0;
}
