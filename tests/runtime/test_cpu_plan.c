/* A model for a device with a CPU plan beside it: when which of them runs. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "deferred_device.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"
#include "session_helpers.h"

/* Call 2 on a device; the demo model itself is the CPU plan. */
static void make_both(demo_copy *out, uint32_t device) {
  demo_copy_make(out);
  demo_put_on(out, 2, device);
  out->model.cpu_plan = demo_model();
  memset(&deferred, 0, sizeof deferred);
}

static void check_cpu_plan(ec_session *session, ec_status failure, const char *part) {
  const char *message = NULL;
  CHECK(ec_session_model(session) == demo_model());
  CHECK_STATUS(failure, ec_session_device_failure(session, &message));
  CHECK_STATUS(failure, ec_session_device_failure(session, NULL));
#ifndef EC_NO_MESSAGES
  CHECK(strstr(message, part) != NULL);
#else
  (void)part;
#endif
  run_and_compare(session, 1);
  run_and_compare(session, 2);
}

static void test_failures_of_a_device(void) {
  ec_status *const stages[] = {&deferred.probe_status, &deferred.open_status,
                               &deferred.prepare_status};
  for (ec_status status = EC_ERROR_DEVICE_ABSENT; status <= EC_ERROR_DEVICE_LOST; ++status) {
    for (size_t stage = 0; stage < sizeof stages / sizeof stages[0]; ++stage) {
      demo_copy both;
      make_both(&both, EC_DEVICE_OPENCL);
      *stages[stage] = status;
      ec_session *session = NULL;
      CHECK_STATUS(EC_OK, ec_session_open(&both.model, NULL, &session));
      CHECK_EQUAL(stage == 2 ? 1 : 0, deferred.closes);
      check_cpu_plan(session, status, "");
      ec_session_close(session);
      CHECK_EQUAL(0, deferred.launches);
    }
  }
}

static void test_a_device_that_is_not_built_in(void) {
  demo_copy both;
  make_both(&both, EC_DEVICE_CUDA);
  ec_open_options options = ec_open_options_default();
  uint64_t bytes = 0;
  CHECK_STATUS(EC_OK, ec_session_memory(&both.model, &options, &bytes));
  void *memory = aligned_alloc(64, (size_t)bytes);
  CHECK(memory != NULL);
  ec_session *session = NULL;
  CHECK_STATUS(EC_ERROR_MEMORY_TOO_SMALL,
               ec_session_init(&both.model, &options, memory, bytes - 1, &session));
  CHECK_STATUS(EC_OK, ec_session_init(&both.model, &options, memory, bytes, &session));
  check_cpu_plan(session, EC_ERROR_DEVICE_ABSENT, "CUDA");
  ec_session_close(session);
  free(memory);
  options.plan = EC_PLAN_DEVICE;
  CHECK_STATUS(EC_ERROR_DEVICE_ABSENT, ec_session_memory(&both.model, &options, &bytes));
  CHECK_STATUS(EC_ERROR_DEVICE_ABSENT, ec_session_open(&both.model, &options, &session));
}

static void test_choices(void) {
  demo_copy both;
  ec_session *session = NULL;
  const char *message = NULL;
  ec_open_options options = ec_open_options_default();
  for (uint32_t plan = EC_PLAN_ANY; plan <= EC_PLAN_DEVICE; ++plan) {
    make_both(&both, EC_DEVICE_OPENCL);
    options.plan = plan;
    CHECK_STATUS(EC_OK, ec_session_open(&both.model, &options, &session));
    CHECK(ec_session_model(session) == &both.model);
    CHECK_STATUS(EC_OK, ec_session_device_failure(session, &message));
    CHECK(message[0] == '\0');
    run_and_compare(session, 3);
    CHECK_EQUAL(1, deferred.launches);
    ec_session_close(session);
  }
  deferred.probe_status = EC_ERROR_DEVICE_ABSENT;
  CHECK_STATUS(EC_ERROR_DEVICE_ABSENT, ec_session_open(&both.model, &options, &session));
  make_both(&both, EC_DEVICE_OPENCL);
  options.plan = EC_PLAN_CPU;
  CHECK_STATUS(EC_OK, ec_session_open(&both.model, &options, &session));
  CHECK_EQUAL(0, deferred.probes);
  check_cpu_plan(session, EC_OK, "");
  ec_session_close(session);
  CHECK_STATUS(EC_OK, ec_session_open(demo_model(), &options, &session));
  ec_session_close(session);
  both.model.cpu_plan = NULL;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(&both.model, &options, &session));
  CHECK_MESSAGE("no CPU plan");
  options.plan = EC_PLAN_CPU + 1;
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_open(&both.model, &options, &session));
  CHECK_MESSAGE("plan 3");
  CHECK_STATUS(EC_ERROR_ARGUMENT, ec_session_device_failure(NULL, &message));
}

/* What is wrong with the caller, the weights or this processor is no device's failure. */
static void test_other_failures(void) {
  demo_copy both;
  make_both(&both, EC_DEVICE_OPENCL);
  _Alignas(64) static const uint8_t wrong[DEMO_WEIGHTS_BYTES] = {1};
  ec_open_options options = ec_open_options_default();
  options.weights = wrong;
  options.weights_bytes = sizeof wrong;
  ec_session *session = NULL;
  CHECK_STATUS(EC_ERROR_WEIGHTS_HASH, ec_session_open(&both.model, &options, &session));
  deferred.probe_status = EC_ERROR_DEVICE_ABSENT; /* then the CPU plan says it */
  CHECK_STATUS(EC_ERROR_WEIGHTS_HASH, ec_session_open(&both.model, &options, &session));
  make_both(&both, EC_DEVICE_OPENCL);
  deferred.probe_status = EC_ERROR_CPU_FEATURE;
  CHECK_STATUS(EC_ERROR_CPU_FEATURE, ec_session_open(&both.model, NULL, &session));
  CHECK(session == NULL);
}

static void test_a_device_that_is_lost(void) {
  demo_copy both;
  make_both(&both, EC_DEVICE_OPENCL);
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&both.model, NULL, &session));
  deferred.sync_status = EC_ERROR_DEVICE_LOST;
  set_inputs(session, 1);
  CHECK_STATUS(EC_ERROR_DEVICE_LOST, ec_session_run(session));
  ec_session_close(session);
  deferred.open_status = EC_ERROR_DEVICE_LOST;
  CHECK_STATUS(EC_OK, ec_session_open(&both.model, NULL, &session));
  check_cpu_plan(session, EC_ERROR_DEVICE_LOST, "");
  ec_session_close(session);
}

#define CHECK_BAD(part, change)         \
  do {                                  \
    demo_copy both;                     \
    demo_copy plan;                     \
    make_both(&both, EC_DEVICE_OPENCL); \
    demo_copy_make(&plan);              \
    both.model.cpu_plan = &plan.model;  \
    change;                             \
    check_refused(&both.model, (part)); \
  } while (0)

static void test_damaged(void) {
  CHECK_BAD("calls for devices", demo_put_on(&plan, 2, EC_DEVICE_OPENCL));
  CHECK_BAD("calls for devices", plan.model.cpu_plan = demo_model());
  CHECK_BAD("calls for devices", both.model.cpu_plan = &both.model);
  CHECK_BAD("other ports", plan.inputs[0].name = "z");
  CHECK_BAD("other ports", plan.model.output_count -= 1);
  CHECK_BAD("other ports", plan.outputs[0].shape[0] = DEMO_COLUMNS;
            plan.outputs[0].shape[1] = DEMO_ROWS);
  CHECK_BAD("other weights", plan.model.weights_bytes += 64);
  CHECK_BAD("other weights", plan.model.weights_hash += 1);
  CHECK_BAD("other weights", plan.model.embedded_weights = NULL);
  CHECK_BAD("ends outside", plan.model.arena_bytes -= 64);
  CHECK_BAD("reserved", plan.model.reserved[0] = 1);
}

int main(void) {
  test_failures_of_a_device();
  test_a_device_that_is_not_built_in();
  test_choices();
  test_other_failures();
  test_a_device_that_is_lost();
  test_damaged();
  return 0;
}
