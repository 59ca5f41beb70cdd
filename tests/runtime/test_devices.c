/* A plan that mixes the CPU with a device which works later than it is told to. */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "deferred_device.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

/* quantize (call 2) on the device; with `last`, total (call 3) too. */
static void make_mixed(demo_copy *out, int last) {
  demo_copy_make(out);
  demo_put_on(out, 2, EC_DEVICE_OPENCL);
  if (last) {
    demo_put_on(out, 3, EC_DEVICE_OPENCL);
  }
  memset(&deferred, 0, sizeof deferred);
}

static void test_run(int last) {
  demo_copy copy;
  make_mixed(&copy, last);
  ec_open_options options = ec_open_options_default();
  options.threads = 2;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&copy.model, &options, &session));
  CHECK_EQUAL(1, deferred.probes);
  CHECK_EQUAL(1, deferred.opens);
  CHECK_EQUAL(last ? 2 : 1, deferred.prepares);
  for (uint32_t run = 1; run <= 3; ++run) {
    run_and_compare(session, run);
    CHECK_EQUAL(run * (last ? 2u : 1u), deferred.launches);
    CHECK_EQUAL(run, deferred.syncs); /* once, where the device ends */
  }
  set_inputs(session, 4);
  ec_call_profile profiles[DEMO_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, DEMO_CALLS));
  compare_outputs(session, 4);
  CHECK_EQUAL(1234, profiles[2].total_ns);
  ec_session_close(session);
  CHECK_EQUAL(1, deferred.closes);
}

/* Failures while opening are handed on, and what was opened is closed. */
static void test_open_failures(void) {
  demo_copy copy;
  ec_session *session = NULL;
  make_mixed(&copy, 0);
  deferred.probe_status = EC_ERROR_DEVICE_ABSENT;
  CHECK_STATUS(EC_ERROR_DEVICE_ABSENT, ec_session_open(&copy.model, NULL, &session));
  CHECK_EQUAL(0, deferred.opens);
  make_mixed(&copy, 0);
  deferred.open_status = EC_ERROR_DEVICE;
  CHECK_STATUS(EC_ERROR_DEVICE, ec_session_open(&copy.model, NULL, &session));
  CHECK_EQUAL(0, deferred.closes); /* a failing open has undone itself */
  make_mixed(&copy, 0);
  deferred.prepare_status = EC_ERROR_DEVICE;
  CHECK_STATUS(EC_ERROR_DEVICE, ec_session_open(&copy.model, NULL, &session));
  CHECK_EQUAL(1, deferred.closes);
  CHECK(session == NULL);
}

/* What the options say of devices is not ignored, and nothing is opened. */
static void test_options(void) {
  demo_copy copy;
  ec_session *session = NULL;
  ec_open_options options = ec_open_options_default();
  options.device_name = "Mali";
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(demo_model(), &options, &session));
  CHECK_MESSAGE("'Mali'");
  uint64_t bytes = 0;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_memory(demo_model(), &options, &bytes));
  make_mixed(&copy, 0);
  CHECK(session == NULL);
  CHECK_STATUS(EC_OK, ec_session_open(&copy.model, &options, &session));
  ec_session_close(session);
}

static void test_run_failures(void) {
  demo_copy copy;
  ec_session *session = NULL;
  make_mixed(&copy, 0);
  CHECK_STATUS(EC_OK, ec_session_open(&copy.model, NULL, &session));
  deferred.launch_status = EC_ERROR_DEVICE;
  CHECK_STATUS(EC_ERROR_DEVICE, ec_session_run(session));
  CHECK_MESSAGE("deferred device");
  CHECK_EQUAL(1, deferred.syncs); /* nothing is left running */
  deferred.launch_status = EC_OK;
  deferred.sync_status = EC_ERROR_DEVICE;
  CHECK_STATUS(EC_ERROR_DEVICE, ec_session_run(session));
  deferred.sync_status = EC_OK;
  deferred.profile_status = EC_ERROR_DEVICE;
  ec_call_profile profiles[DEMO_CALLS] = {{0}};
  CHECK_STATUS(EC_ERROR_DEVICE, ec_session_run_profiled(session, profiles, DEMO_CALLS));
  CHECK_EQUAL(1, profiles[1].runs);
  CHECK_EQUAL(0, profiles[2].runs);
  deferred.profile_status = EC_OK;
  run_and_compare(session, 5); /* and it can go on */
  ec_session_close(session);
}

/* A model that never asks for the device does not touch it. */
static void test_unused(void) {
  memset(&deferred, 0, sizeof deferred);
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), NULL, &session));
  run_and_compare(session, 6);
  ec_session_close(session);
  CHECK_EQUAL(0, deferred.probes + deferred.opens + deferred.closes);
}

int main(void) {
  test_run(0);
  test_run(1);
  test_open_failures();
  test_options();
  test_run_failures();
  test_unused();
  return 0;
}
