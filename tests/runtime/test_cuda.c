/* The CUDA back end with a driver that has no device, and fails on demand. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cuda_model.h"
#include "device/cuda/cu.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "opencl_model.h"

/* A whole life: open, runs, profile, close; nothing is left. */
static void test_run(void) {
  opencl_model of;
  cuda_model_make(&of);
  cuda_driver.configure("");
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, cuda_model_open(&of, NULL, &session));
  for (uint32_t run = 1; run <= 3; ++run) {
    opencl_run_and_compare(session, (float)run);
    CHECK_EQUAL(run, cuda_driver.graphs()); /* the three calls are one */
    CHECK_EQUAL(run, cuda_driver.launches());
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS));
  CHECK_EQUAL(3, cuda_driver.graphs());
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK_EQUAL(500, profiles[i].total_ns);
  }
  opencl_run_and_compare(session, 9);
  ec_session_close(session);
  CHECK_EQUAL(0, cuda_driver.live());
}

/* What only the device has is brought from there, also where a run ends inside of a graph. */
static void test_tensors(void) {
  opencl_model of;
  cuda_model_make(&of);
  cuda_driver.configure("");
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, cuda_model_open(&of, NULL, &session));
  const void *data = NULL;
  uint64_t bytes = 0;
  for (uint32_t calls = 2; calls <= OPENCL_CALLS; ++calls) {
    float x[OPENCL_ELEMENTS] = {(float)calls};
    CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, sizeof x));
    CHECK_STATUS(EC_OK, ec_session_run_prefix(session, calls));
    CHECK_STATUS(EC_OK, ec_session_tensor_data(session, 2, &data, &bytes));
    CHECK_EQUAL(sizeof x, bytes);
    CHECK(((const float *)data)[0] == (float)calls + 3 && ((const float *)data)[1] == 3);
  }
  CHECK_EQUAL(2, cuda_driver.graphs()); /* a prefix of two calls is none */
  ec_session_close(session);
  CHECK_EQUAL(0, cuda_driver.live());
}

static void refuse(const opencl_model *of, const char *how, const char *device,
                   ec_status expected, const char *message) {
  ec_session *session = NULL;
  cuda_driver.configure(how);
  CHECK_STATUS(expected, cuda_model_open(of, device, &session));
  CHECK_MESSAGE(message);
  CHECK(session == NULL);
  CHECK_EQUAL(0, cuda_driver.live());
}

static void test_refusals(void) {
  opencl_model of;
  cuda_model_make(&of);
  refuse(&of, "init=100", NULL, EC_ERROR_DEVICE_ABSENT, "no CUDA device (100");
  refuse(&of, "init=803", NULL, EC_ERROR_DEVICE_FEATURE, "does not fit this system");
  refuse(&of, "devices=0", NULL, EC_ERROR_DEVICE_ABSENT, "no CUDA device");
  refuse(&of, "", "Orin", EC_ERROR_DEVICE_ABSENT, "named 'Orin'");
  refuse(&of, "version=11040", NULL, EC_ERROR_DEVICE_FEATURE,
         "version 11.4, the kernels need 12.0");
  refuse(&of, "capability=86", NULL, EC_ERROR_DEVICE_FEATURE,
         "compute capability 8.6, the model is built for sm_87 compute_87");
  refuse(&of, "load=209", NULL, EC_ERROR_DEVICE_FEATURE, "nothing in the model");
  refuse(&of, "jit=ptxas error: line 7", NULL, EC_ERROR_DEVICE_BUILD, "ptxas error: line 7");
  refuse(&of, "load=222", NULL, EC_ERROR_DEVICE_BUILD, "does not take the kernels (222)");
  refuse(&of, "memory=100", NULL, EC_ERROR_DEVICE_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY");
  refuse(&of, "threads=7", NULL, EC_ERROR_DEVICE_FEATURE,
         "blocks of at most 7 threads, not 8");
  of.program.options = "sm_90";
  refuse(&of, "capability=100", NULL, EC_ERROR_DEVICE_FEATURE, "10.0, the model is built for");
  of.program.options = "sm_80 sm_87";
  of.launches[1].global_sizes[0] = 1;
  of.launches[1].global_sizes[1] = 8 * 65536;
  of.launches[1].local_sizes[0] = 1;
  of.launches[1].local_sizes[1] = 8;
  refuse(&of, "capability=89", NULL, EC_ERROR_DEVICE_FEATURE, "65536 blocks of 8 threads");
  cuda_model_make(&of);
  of.launches[1].kernel = "ec_other";
  refuse(&of, "", NULL, EC_ERROR_DEVICE, "find kernel 'ec_other'");
  cuda_model_make(&of);
  of.program.format = EC_PROGRAM_OPENCL_C;
  refuse(&of, "", NULL, EC_ERROR_DESCRIPTOR, "malformed");
  static _Alignas(8) const char other[] = "not an image";
  cuda_model_make(&of);
  of.program.text = other;
  of.program.text_bytes = sizeof other - 1;
  refuse(&of, "", NULL, EC_ERROR_DEVICE_BUILD, "does not take the kernels (200)");
}

/* Every call of the driver fails once: a status, nothing is left, and the next attempt works.
 */
static void test_each_failure(uint32_t result, ec_status expected) {
  opencl_model of;
  cuda_model_make(&of);
  uint32_t failures = 0;
  for (uint32_t at = 1;; ++at) {
    ec_session *session = NULL;
    cuda_driver.configure(cuda_failure(at, result));
    ec_status status = cuda_model_open(&of, NULL, &session);
    if (status == EC_OK) {
      CHECK(cuda_driver.calls() < at);
      ec_session_close(session);
      CHECK_EQUAL(0, cuda_driver.live());
      break;
    }
    CHECK_STATUS(expected, status);
    CHECK(session == NULL);
    CHECK_EQUAL(0, cuda_driver.live());
    failures += 1;
    cuda_driver.configure("");
    CHECK_STATUS(EC_OK, cuda_model_open(&of, NULL, &session));
    opencl_run_and_compare(session, (float)at);
    ec_session_close(session);
    CHECK_EQUAL(0, cuda_driver.live());
  }
  CHECK(failures >= 12);
}

/* Runs and profiles fail at each of their calls. After a lost device the session stays lost,
 * and another one works; after others the next run does. */
static void test_failing_runs(uint32_t result, ec_status expected, bool is_lost) {
  opencl_model of;
  cuda_model_make(&of);
  for (int is_profile = 0; is_profile < 2; ++is_profile) {
    uint32_t failures = 0;
    for (uint32_t at = 1;; ++at) {
      ec_session *session = NULL;
      cuda_driver.configure("");
      CHECK_STATUS(EC_OK, cuda_model_open(&of, NULL, &session));
      opencl_run_and_compare(session, 1);
      cuda_driver.configure(cuda_failure(at, result));
      ec_call_profile profiles[OPENCL_CALLS] = {{0}};
      ec_status status = is_profile != 0
                             ? ec_session_run_profiled(session, profiles, OPENCL_CALLS)
                             : ec_session_run(session);
      if (status == EC_OK) {
        ec_session_close(session);
        break;
      }
      failures += 1;
      CHECK_STATUS(expected, status);
      cuda_driver.configure("");
      if (is_lost) {
        CHECK_STATUS(expected, ec_session_run(session));
      } else {
        opencl_run_and_compare(session, 2);
      }
      ec_session_close(session);
      CHECK_EQUAL(0, cuda_driver.live());
    }
    CHECK(failures >= (is_profile != 0 ? 12 : 2));
  }
}

/* Two at a time, each with a context of its own. */
static void test_two_sessions(void) {
  opencl_model of;
  cuda_model_make(&of);
  cuda_driver.configure("");
  ec_session *one = NULL;
  ec_session *other = NULL;
  CHECK_STATUS(EC_OK, cuda_model_open(&of, NULL, &one));
  CHECK_STATUS(EC_OK, cuda_model_open(&of, "Emulated", &other));
  cuda_driver.configure(cuda_failure(1, CU_ILLEGAL_ADDRESS));
  CHECK_STATUS(EC_ERROR_DEVICE_LOST, ec_session_run(one));
  opencl_run_and_compare(other, 4);
  ec_session_close(one);
  opencl_run_and_compare(other, 5);
  ec_session_close(other);
  CHECK_EQUAL(0, cuda_driver.live());
}

int main(void) {
  cuda_driver_load();
  test_run();
  test_tensors();
  test_refusals();
  test_two_sessions();
  test_each_failure(CU_OUT_OF_MEMORY, EC_ERROR_DEVICE_MEMORY);
  test_each_failure(CU_ILLEGAL_ADDRESS, EC_ERROR_DEVICE_LOST);
  test_each_failure(999, EC_ERROR_DEVICE);
  test_failing_runs(CU_LAUNCH_OUT_OF_RESOURCES, EC_ERROR_DEVICE_MEMORY, false);
  test_failing_runs(CU_LAUNCH_FAILED, EC_ERROR_DEVICE_LOST, true);
  test_failing_runs(999, EC_ERROR_DEVICE, false);
  return 0;
}
