/* The CUDA back end with a driver that has no device, and fails on demand. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "device/cuda/cu.h"
#include "edgecomp/edgecomp.h"
#include "opencl_model.h"

typedef struct emulator {
  void (*configure)(const char *text);
  unsigned (*live)(void);
  unsigned (*calls)(void);
  unsigned (*graphs)(void);
  unsigned (*launches)(void);
} emulator;
static emulator driver;

static void find(void *library, const char *name, void *out_function) {
  void *address = dlsym(library, name);
  CHECK(address != NULL);
  memcpy(out_function, &address, sizeof address);
}

static void load_emulator(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  CHECK(library != NULL);
  find(library, "ec_emulator_configure", (void *)&driver.configure);
  find(library, "ec_emulator_live", (void *)&driver.live);
  find(library, "ec_emulator_calls", (void *)&driver.calls);
  find(library, "ec_emulator_graphs", (void *)&driver.graphs);
  find(library, "ec_emulator_launches", (void *)&driver.launches);
}

static _Alignas(8) const char image[] = "// PTX";

/* The model of OpenCL's tests with its program for CUDA. */
static void make_model(opencl_model *out) {
  opencl_model_make(out);
  out->model.name = "cuda";
  out->program = (ec_program){image,          "sm_87 compute_87",     "",   sizeof image - 1,
                              EC_DEVICE_CUDA, EC_PROGRAM_CUDA_FATBIN, 1200, 0};
  for (uint32_t i = 0; i < 3; ++i) {
    out->calls[i].device = EC_DEVICE_CUDA;
  }
}

static ec_status open_model(const opencl_model *of, const char *device,
                            ec_session **out_session) {
  ec_open_options options = ec_open_options_default();
  options.skip_hash = 1;
  options.device_name = device;
  return ec_session_open(&of->model, &options, out_session);
}

/* A whole life: open, runs, profile, close; nothing is left. */
static void test_run(void) {
  opencl_model of;
  make_model(&of);
  driver.configure("");
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, open_model(&of, NULL, &session));
  for (uint32_t run = 1; run <= 3; ++run) {
    opencl_run_and_compare(session, (float)run);
    CHECK_EQUAL(run, driver.graphs()); /* the three calls are one */
    CHECK_EQUAL(run, driver.launches());
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS));
  CHECK_EQUAL(3, driver.graphs());
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK_EQUAL(500, profiles[i].total_ns);
  }
  opencl_run_and_compare(session, 9);
  ec_session_close(session);
  CHECK_EQUAL(0, driver.live());
}

/* Sizes of a run: no graph has them. */
static void test_sizes(void) {
  static const int64_t sizes[] = {OPENCL_ELEMENTS, 9, 1, 24, 9};
  opencl_model of;
  make_model(&of);
  opencl_model sized;
  opencl_model_make_dynamic(&sized);
  sized.program = of.program;
  for (uint32_t i = 0; i < 3; ++i) {
    sized.calls[i].device = EC_DEVICE_CUDA;
  }
  driver.configure("");
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, open_model(&sized, NULL, &session));
  for (uint32_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    opencl_run_sized(session, sizes[i]);
    CHECK_EQUAL(i + 1, driver.launches());
  }
  CHECK_EQUAL(0, driver.graphs());
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS - 1));
  CHECK_EQUAL(500, profiles[1].total_ns);
  ec_session_close(session);
  CHECK_EQUAL(0, driver.live());
}

/* What only the device has is brought from there, also where a run ends inside of a graph. */
static void test_tensors(void) {
  opencl_model of;
  make_model(&of);
  driver.configure("");
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, open_model(&of, NULL, &session));
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
  CHECK_EQUAL(2, driver.graphs()); /* a prefix of two calls is none */
  ec_session_close(session);
  CHECK_EQUAL(0, driver.live());
}

static void refuse(const opencl_model *of, const char *how, const char *device,
                   ec_status expected, const char *message) {
  ec_session *session = NULL;
  driver.configure(how);
  CHECK_STATUS(expected, open_model(of, device, &session));
  CHECK_MESSAGE(message);
  CHECK(session == NULL);
  CHECK_EQUAL(0, driver.live());
}

static void test_refusals(void) {
  opencl_model of;
  make_model(&of);
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
  make_model(&of);
  of.launches[1].kernel = "ec_other";
  refuse(&of, "", NULL, EC_ERROR_DEVICE, "find kernel 'ec_other'");
  make_model(&of);
  of.program.format = EC_PROGRAM_OPENCL_C;
  refuse(&of, "", NULL, EC_ERROR_DESCRIPTOR, "malformed");
  static _Alignas(8) const char other[] = "not an image";
  make_model(&of);
  of.program.text = other;
  of.program.text_bytes = sizeof other - 1;
  refuse(&of, "", NULL, EC_ERROR_DEVICE_BUILD, "does not take the kernels (200)");
}

static const char *failure(uint32_t at, uint32_t result) {
  static char text[64];
  (void)snprintf(text, sizeof text, "fail_at=%" PRIu32 ";fail_with=%" PRIu32, at, result);
  return text;
}

/* Every call of the driver fails once: a status, nothing is left, and the next attempt works.
 */
static void test_each_failure(uint32_t result, ec_status expected) {
  opencl_model of;
  make_model(&of);
  uint32_t failures = 0;
  for (uint32_t at = 1;; ++at) {
    ec_session *session = NULL;
    driver.configure(failure(at, result));
    ec_status status = open_model(&of, NULL, &session);
    if (status == EC_OK) {
      CHECK(driver.calls() < at);
      ec_session_close(session);
      CHECK_EQUAL(0, driver.live());
      break;
    }
    CHECK_STATUS(expected, status);
    CHECK(session == NULL);
    CHECK_EQUAL(0, driver.live());
    failures += 1;
    driver.configure("");
    CHECK_STATUS(EC_OK, open_model(&of, NULL, &session));
    opencl_run_and_compare(session, (float)at);
    ec_session_close(session);
    CHECK_EQUAL(0, driver.live());
  }
  CHECK(failures >= 12);
}

/* Runs and profiles fail at each of their calls. After a lost device the session stays lost,
 * and another one works; after others the next run does. */
static void test_failing_runs(uint32_t result, ec_status expected, bool is_lost) {
  opencl_model of;
  make_model(&of);
  for (int is_profile = 0; is_profile < 2; ++is_profile) {
    uint32_t failures = 0;
    for (uint32_t at = 1;; ++at) {
      ec_session *session = NULL;
      driver.configure("");
      CHECK_STATUS(EC_OK, open_model(&of, NULL, &session));
      opencl_run_and_compare(session, 1);
      driver.configure(failure(at, result));
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
      driver.configure("");
      if (is_lost) {
        CHECK_STATUS(expected, ec_session_run(session));
      } else {
        opencl_run_and_compare(session, 2);
      }
      ec_session_close(session);
      CHECK_EQUAL(0, driver.live());
    }
    CHECK(failures >= (is_profile != 0 ? 12 : 2));
  }
}

/* Two at a time, each with a context of its own. */
static void test_two_sessions(void) {
  opencl_model of;
  make_model(&of);
  driver.configure("");
  ec_session *one = NULL;
  ec_session *other = NULL;
  CHECK_STATUS(EC_OK, open_model(&of, NULL, &one));
  CHECK_STATUS(EC_OK, open_model(&of, "Emulated", &other));
  driver.configure(failure(1, CU_ILLEGAL_ADDRESS));
  CHECK_STATUS(EC_ERROR_DEVICE_LOST, ec_session_run(one));
  opencl_run_and_compare(other, 4);
  ec_session_close(one);
  opencl_run_and_compare(other, 5);
  ec_session_close(other);
  CHECK_EQUAL(0, driver.live());
}

int main(void) {
  load_emulator();
  test_run();
  test_sizes();
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
