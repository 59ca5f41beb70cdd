/* Groups of strips: the same results whoever makes the calls, and what a descriptor may say.
 */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

enum { B = EC_STRIP_BEGINS, S = EC_STRIP_SEAM, M = EC_STRIP_MEETS, W = EC_STRIP_SHORT };

static void set_strips(demo_copy *copy, const uint32_t strips[3], const uint32_t flags[3]) {
  for (uint32_t i = 0; i < 3; ++i) {
    copy->calls[i + 1].strip = strips[i];
    copy->calls[i + 1].strip_flags = flags[i];
  }
}

static void swap_calls(demo_copy *copy, uint32_t one, uint32_t other) {
  ec_call call = copy->calls[one];
  copy->calls[one] = copy->calls[other];
  copy->calls[other] = call;
}

/* affine; strip 1: row_sum, total; strip 2: quantize. */
static void make_strips(demo_copy *out) {
  demo_copy_make(out);
  swap_calls(out, 2, 3);
  set_strips(out, (const uint32_t[]){1, 1, 2}, (const uint32_t[]){B, 0, 0});
}

/* affine; row_sum is strip 2's seam, which strip 1, total, reads; quantize: strip 2. */
static void make_seam(demo_copy *out) {
  demo_copy_make(out);
  swap_calls(out, 2, 3);
  set_strips(out, (const uint32_t[]){2, 1, 2}, (const uint32_t[]){B | S, M, 0});
}

enum { SEAM_CALLS = 5, UPPER = DEMO_ELEMENTS / 3 };

/* affine; strip 1: a part of quantize, then total, which reads row_sum, strip 2's seam; strip
 * 2: the rest of quantize. */
static void make_late_seam(demo_copy *out, ec_call calls[SEAM_CALLS]) {
  demo_copy_make(out);
  const uint32_t order[SEAM_CALLS] = {0, 2, 1, 3, 2};
  const uint32_t strips[SEAM_CALLS] = {0, 1, 2, 1, 2};
  const uint32_t flags[SEAM_CALLS] = {0, B, S, M, 0};
  for (uint32_t i = 0; i < SEAM_CALLS; ++i) {
    calls[i] = out->calls[order[i]];
    calls[i].strip = strips[i];
    calls[i].strip_flags = flags[i];
  }
  calls[1].work_items = UPPER;
  calls[4].first_item = UPPER;
  calls[4].work_items = DEMO_ELEMENTS - UPPER;
  out->model.calls = calls;
  out->model.call_count = SEAM_CALLS;
}

/* affine; the upper part of quantize and row_sum are strip 2's seam; strip 1: the lower part;
 * strip 2: total. */
static void make_early_seam(demo_copy *out, ec_call calls[SEAM_CALLS]) {
  demo_copy_make(out);
  const uint32_t order[SEAM_CALLS] = {0, 2, 1, 2, 3};
  const uint32_t strips[SEAM_CALLS] = {0, 2, 2, 1, 2};
  const uint32_t flags[SEAM_CALLS] = {0, B | S | W, S, M, 0};
  for (uint32_t i = 0; i < SEAM_CALLS; ++i) {
    calls[i] = out->calls[order[i]];
    calls[i].strip = strips[i];
    calls[i].strip_flags = flags[i];
  }
  calls[1].first_item = UPPER;
  calls[1].work_items = DEMO_ELEMENTS - UPPER;
  calls[3].work_items = UPPER;
  out->model.calls = calls;
  out->model.call_count = SEAM_CALLS;
}

static ec_session *open_strips(const demo_copy *copy, uint32_t threads,
                               const uint32_t *shares) {
  ec_open_options options = ec_open_options_default();
  options.threads = threads;
  options.thread_shares = shares;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&copy->model, &options, &session));
  return session;
}

static void run_with_threads(const demo_copy *copy) {
  for (uint32_t threads = 1; threads <= 4; ++threads) {
    ec_session *session = open_strips(copy, threads, NULL);
    for (uint32_t seed = 0; seed < 200; ++seed) {
      run_and_compare(session, seed);
    }
    ec_session_close(session);
  }
  /* One thread takes all strips, whichever. */
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t shares[2] = {i, 1 - i};
    ec_session *session = open_strips(copy, 2, shares);
    run_and_compare(session, 5);
    ec_session_close(session);
  }
}

static void test_threads(void) {
  demo_copy copy;
  ec_call calls[SEAM_CALLS];
  make_strips(&copy);
  run_with_threads(&copy);
  make_seam(&copy);
  run_with_threads(&copy);
  make_late_seam(&copy, calls);
  run_with_threads(&copy);
  calls[1].strip_flags |= W;
  run_with_threads(&copy);
  make_early_seam(&copy, calls);
  run_with_threads(&copy);
}

/* A group that is cut short runs call by call, and so does a profile. */
static void test_parts(void) {
  demo_copy copy;
  make_strips(&copy);
  ec_session *session = open_strips(&copy, 2, NULL);
  set_inputs(session, 7);
  for (uint32_t calls = 0; calls <= DEMO_CALLS; ++calls) {
    CHECK_STATUS(EC_OK, ec_session_run_prefix(session, calls));
    set_inputs(session, 7); /* row_sum lies in the memory of x */
  }
  run_and_compare(session, 7);
  set_inputs(session, 8);
  ec_call_profile profiles[DEMO_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, DEMO_CALLS));
  compare_outputs(session, 8);
  for (uint32_t i = 0; i < DEMO_CALLS; ++i) {
    CHECK_EQUAL(1, profiles[i].runs);
  }
  ec_session_close(session);
}

static void refuse(const uint32_t strips[3], const uint32_t flags[3], const char *message) {
  demo_copy copy;
  make_strips(&copy);
  set_strips(&copy, strips, flags);
  check_refused(&copy.model, message);
}

#define NUMBERS(...) ((const uint32_t[]){__VA_ARGS__})

static void test_refusals(void) {
  refuse(NUMBERS(1, 1, 2), NUMBERS(0, 0, 0), "call 1 (ReduceSum) is in strip 1 with flags 0");
  refuse(NUMBERS(1, 0, 0), NUMBERS(B, 0, 0), "call 1 (ReduceSum) is in strip 1 with flags 1");
  refuse(NUMBERS(1, 2, 1), NUMBERS(B, 0, 0), "call 1 (ReduceSum) is in strip 1 with flags 1");
  refuse(NUMBERS(1, 2, 2), NUMBERS(B, B, 0), "call 1 (ReduceSum) is in strip 1 with flags 1");
  refuse(NUMBERS(1, 1, 2), NUMBERS(B | S, 0, 0), "call 1 (ReduceSum) is in strip 1");
  refuse(NUMBERS(1, 1, 2), NUMBERS(B, 16, 0),
         "call 2 (ReduceSum) is in strip 1 with flags 16");
  refuse(NUMBERS(1, 1, 2), NUMBERS(B, W, 0), "call 2 (ReduceSum) is in strip 1 with flags 8");
  refuse(NUMBERS(1, 1, EC_MAX_STRIPS + 1), NUMBERS(B, 0, 0),
         "call 3 (Quantize) is in strip 17");
  refuse(NUMBERS(0, 0, 0), NUMBERS(0, M, 0), "call 2 (ReduceSum) is in strip 0 with flags 4");
  for (uint32_t from = 2; from <= 3; ++from) { /* within the first strip, between the strips */
    demo_copy copy;
    make_strips(&copy);
    for (uint32_t i = from; i <= 3; ++i) {
      demo_put_on(&copy, i, EC_DEVICE_OPENCL);
    }
    check_refused(&copy.model, "no launch that fits it");
  }
}

int main(void) {
  test_threads();
  test_parts();
  test_refusals();
  return 0;
}
