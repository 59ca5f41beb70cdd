/* Groups of strips: the same results whoever makes the calls, and what a descriptor may say.
 */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

/* affine; strip 1: row_sum, total; strip 2: quantize. */
static void make_strips(demo_copy *out) {
  demo_copy_make(out);
  ec_call quantize = out->calls[2];
  out->calls[2] = out->calls[3];
  out->calls[3] = quantize;
  out->calls[1].strip = 1;
  out->calls[2].strip = 1;
  out->calls[3].strip = 2;
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

static void test_threads(void) {
  demo_copy copy;
  make_strips(&copy);
  for (uint32_t threads = 1; threads <= 4; ++threads) {
    ec_session *session = open_strips(&copy, threads, NULL);
    for (uint32_t seed = 0; seed < 200; ++seed) {
      run_and_compare(session, seed);
    }
    ec_session_close(session);
  }
  const uint32_t shares[2] = {0, 1};
  ec_session *session = open_strips(&copy, 2, shares);
  run_and_compare(session, 5);
  ec_session_close(session);
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

static void refuse(uint32_t first, uint32_t second, uint32_t third, const char *message) {
  demo_copy copy;
  make_strips(&copy);
  const uint32_t strips[3] = {first, second, third};
  for (uint32_t i = 0; i < 3; ++i) {
    copy.calls[i + 1].strip = strips[i];
  }
  check_refused(&copy.model, message);
}

static void test_refusals(void) {
  refuse(2, 2, 2, "call 1 (ReduceSum) is in strip 2 between strips 0 and 2");
  refuse(1, 3, 0, "call 2 (ReduceSum) is in strip 3 between strips 1 and 0");
  refuse(1, 0, 0, "call 1 (ReduceSum) is in strip 1 between strips 0 and 0");
  refuse(1, 1, 0, "call 2 (ReduceSum) is in strip 1 between strips 1 and 0");
  refuse(0, 1, 1, "call 3 (Quantize) is in strip 1 between strips 1 and 0");
  for (uint32_t from = 2; from <= 3; ++from) { /* within the first strip, between the strips */
    demo_copy copy;
    make_strips(&copy);
    for (uint32_t i = from; i <= 3; ++i) {
      copy.calls[i].device = EC_DEVICE_OPENCL;
    }
    check_refused(&copy.model, "beside calls of another device");
  }
}

int main(void) {
  test_threads();
  test_parts();
  test_refusals();
  return 0;
}
