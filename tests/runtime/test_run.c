/* Inference: right numbers for any number of threads; ports, tensors and prefixes. */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

static ec_session *open_demo(uint32_t threads, const uint32_t *shares) {
  ec_open_options options = ec_open_options_default();
  options.threads = threads;
  options.thread_shares = shares;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), &options, &session));
  return session;
}

static void test_threads(void) {
  for (uint32_t threads = 1; threads <= 8; ++threads) {
    ec_session *session = open_demo(threads, NULL);
    for (uint32_t seed = 0; seed < 5; ++seed) {
      run_and_compare(session, seed);
    }
    ec_session_close(session);
  }
}

static void test_shares(void) {
  const uint32_t uneven[][3] = {{1, 2, 5}, {100, 1, 1}, {0, 0, 1}, {1, 0, 0}};
  for (size_t i = 0; i < sizeof uneven / sizeof uneven[0]; ++i) {
    ec_session *session = open_demo(3, uneven[i]);
    run_and_compare(session, 9);
    ec_session_close(session);
  }
}

static void test_ports(void) {
  ec_session *session = open_demo(1, NULL);
  uint32_t index = 99;
  CHECK_STATUS(EC_OK, ec_model_input_index(demo_model(), "gain", &index));
  CHECK_EQUAL(1, index);
  CHECK_STATUS(EC_OK, ec_model_output_index(demo_model(), "row/sum:0", &index));
  CHECK_EQUAL(1, index);
  CHECK_STATUS(EC_ERROR_INPUT_NAME, ec_model_input_index(demo_model(), "y", &index));
  CHECK_MESSAGE("no input named 'y'");
  CHECK_STATUS(EC_ERROR_INPUT_NAME, ec_model_output_index(demo_model(), "x", &index));
  CHECK_EQUAL(1, index);
  float value = 0;
  CHECK_STATUS(EC_ERROR_INPUT_BYTES, ec_session_set_input(session, 0, &value, sizeof value));
  CHECK_MESSAGE("'x' has 2368 bytes, not 4");
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_set_input(session, 2, &value, sizeof value));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_set_input(session, 1, NULL, sizeof value));
  CHECK_STATUS(EC_ERROR_INPUT_BYTES, ec_session_get_output(session, 0, &value, 4));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_get_output(session, 4, &value, 4));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_get_output(session, 2, NULL, 4));
  ec_session_close(session);
}

static void test_in_place(void) {
  ec_session *session = open_demo(2, NULL);
  void *x = NULL;
  void *gain = NULL;
  uint64_t bytes = 0;
  CHECK_STATUS(EC_OK, ec_session_input_data(session, 1, &gain, &bytes));
  CHECK_EQUAL(sizeof(float), bytes);
  CHECK_STATUS(EC_OK, ec_session_input_data(session, 0, &x, &bytes));
  CHECK_EQUAL(DEMO_ELEMENTS * sizeof(float), bytes);
  CHECK_EQUAL(0, (uintptr_t)x % 64);
  demo_input(5, x, gain);
  CHECK_STATUS(EC_OK, ec_session_run(session));
  compare_outputs(session, 5);
  const void *total = NULL;
  CHECK_STATUS(EC_OK, ec_session_output_data(session, 2, &total, &bytes));
  CHECK_EQUAL(sizeof(float), bytes);
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_input_data(session, 2, &x, &bytes));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_input_data(session, 0, NULL, &bytes));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_output_data(session, 4, &total, &bytes));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_output_data(session, 0, &total, NULL));
  ec_session_close(session);
}

/* After one call, `affine` is there and the memory of x still holds x. */
static void test_prefix(void) {
  ec_session *session = open_demo(2, NULL);
  float x[DEMO_ELEMENTS];
  float gain = 0;
  demo_input(6, x, &gain);
  set_inputs(session, 6);
  CHECK_STATUS(EC_OK, ec_session_run_prefix(session, 0));
  CHECK_STATUS(EC_OK, ec_session_run_prefix(session, 1));
  const void *data = NULL;
  uint64_t bytes = 0;
  CHECK_STATUS(EC_OK, ec_session_tensor_data(session, DEMO_X, &data, &bytes));
  CHECK(memcmp(x, data, (size_t)bytes) == 0);
  CHECK_STATUS(EC_OK, ec_session_tensor_data(session, DEMO_AFFINE, &data, &bytes));
  CHECK_EQUAL(sizeof x, bytes);
  float first = 0;
  memcpy(&first, data, sizeof first);
  CHECK(first == x[0] * gain * .125f - 8.0f);
  CHECK_STATUS(EC_OK, ec_session_tensor_data(session, DEMO_SCALE, &data, &bytes));
  CHECK(memcmp(demo_weights(), data, (size_t)bytes) == 0);
  CHECK_STATUS(EC_OK, ec_session_run_prefix(session, DEMO_CALLS));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_run_prefix(session, DEMO_CALLS + 1));
  CHECK_STATUS(EC_ERROR_ARGUMENT,
               ec_session_tensor_data(session, DEMO_TENSORS, &data, &bytes));
  ec_session_close(session);
}

static void test_profile(void) {
  ec_session *session = open_demo(2, NULL);
  ec_call_profile profiles[DEMO_CALLS] = {{0}};
  for (uint32_t run = 1; run <= 10; ++run) {
    set_inputs(session, run);
    CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, DEMO_CALLS));
    compare_outputs(session, run);
    for (int i = 0; i < DEMO_CALLS; ++i) {
      CHECK_EQUAL(run, profiles[i].runs);
      CHECK(profiles[i].minimum_ns * run <= profiles[i].total_ns);
    }
  }
  CHECK(profiles[0].total_ns > 0);
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_run_profiled(session, profiles, DEMO_CALLS - 1));
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_run_profiled(session, NULL, DEMO_CALLS));
  CHECK_EQUAL(10, profiles[0].runs);
  ec_session_close(session);
}

int main(void) {
  test_threads();
  test_shares();
  test_ports();
  test_in_place();
  test_prefix();
  test_profile();
  return 0;
}
