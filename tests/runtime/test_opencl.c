/* The OpenCL back end with a driver that fails on demand. */
#define _POSIX_C_SOURCE 200809L /* mkdtemp */
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS \
  64 /* folders whose files have numbers of 64 bits, on 32-bit systems */
#endif

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "fake_opencl.h"
#include "opencl_model.h"
#include "opencl_session.h"

/* A whole life: open, runs, profile, close; nothing is left. */
static void test_run(uint32_t alignment_bits, uint64_t largest_bytes, uint32_t parts) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  fake.alignment_bits = alignment_bits;
  fake.largest_bytes = largest_bytes;
  ec_session *session = opencl_open(&of);
  CHECK_EQUAL(parts, fake.parts);
  for (uint32_t run = 0; run < 3; ++run) {
    fake.finishes = 0;
    opencl_run_and_compare(session, (float)run);
    CHECK_EQUAL(1, fake.finishes); /* where the device's calls end */
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS));
  for (uint32_t i = 0; i < 3; ++i) {
    CHECK_EQUAL(500, profiles[i].total_ns);
  }
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

/* Memory of the CPU's: nothing is copied, and between runs all of it is the CPU's. */
static void test_shared(bool refuses_weights) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  fake.shares_memory = true;
  fake.refuses_weights = refuses_weights;
  ec_session *session = opencl_open(&of);
  CHECK_EQUAL(2, fake.mapped);
  CHECK_EQUAL(0, fake.unfinished); /* the CPU may use what a map stands for */
  for (uint32_t run = 0; run < 3; ++run) {
    opencl_run_and_compare(session, (float)run);
    CHECK_EQUAL(2, fake.mapped);
    CHECK_EQUAL(0, fake.unfinished);
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS));
  CHECK_EQUAL(2, fake.mapped);
  opencl_run_and_compare(session, 7);
  CHECK_EQUAL(0, fake.copied_buffers + fake.parts);
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live + fake.mapped);
}

/* What only the device has is brought from there. */
static void test_tensors(bool shares_memory) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  fake.shares_memory = shares_memory;
  ec_session *session = opencl_open(&of);
  const void *data = NULL;
  uint64_t bytes = 0;
  for (uint32_t calls = 2; calls <= OPENCL_CALLS; ++calls) {
    float x[OPENCL_ELEMENTS] = {(float)calls};
    CHECK_STATUS(EC_OK, ec_session_set_input(session, 0, x, sizeof x));
    CHECK_STATUS(EC_OK, ec_session_run_prefix(session, calls));
    CHECK_STATUS(EC_OK, ec_session_tensor_data(session, 2, &data, &bytes));
    CHECK_EQUAL(sizeof x, bytes);
    CHECK(((const float *)data)[0] == (float)calls + 3 && ((const float *)data)[1] == 3);
    CHECK_STATUS(EC_OK, ec_session_tensor_data(session, 1, &data, &bytes)); /* weights */
    CHECK(((const float *)data)[1] == 2);
  }
  if (!shares_memory) {
    CHECK_STATUS(EC_OK, ec_session_run_prefix(session, 2));
    fake.fail_at = fake.calls + 1;
    fake.fail_with = CL_DEVICE_NOT_AVAILABLE;
    CHECK_STATUS(EC_ERROR_DEVICE_LOST, ec_session_tensor_data(session, 2, &data, &bytes));
  }
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

/* Two tensors in the same memory at different times are copied. */
static void test_memory_that_is_used_again(void) {
  opencl_model of;
  opencl_model_make(&of);
  of.tensors[2].offset_bytes = 64; /* t begins inside x */
  fake_reset();
  fake.shares_memory = true;
  ec_session *session = opencl_open(&of);
  CHECK_EQUAL(0, fake.mapped);
  ec_session_close(session);
}

static void test_refusals(void) {
  opencl_model of;
  opencl_model_make(&of);
  ec_open_options named = opencl_options();
  fake_reset();
  fake.is_absent = true;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_ABSENT, "no driver");
  fake_reset();
  fake.has_no_platform = true;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_ABSENT, "no OpenCL device");
  fake_reset();
  named.device_name = "Adreno";
  opencl_refuse(&of, &named, EC_ERROR_DEVICE_ABSENT, "named 'Adreno'");
  fake.version = "OpenCL 1.1 old";
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "has version 1.1, the kernels need 1.2");
  fake.version = "something else";
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "has version 0.0");
  fake_reset();
  fake.rounds_to_zero = true;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "does not round to the nearest float");
  fake_reset();
  of.program.extensions = "cl_khr_two,cl_khr_on";
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "has no cl_khr_on,");
  of.program.extensions = "cl_khr_two,cl_khr_one";
  fake.refuses_source = true;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_BUILD, "error: line 1");
  fake_reset();
  fake.most_group_items = 7;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "groups of at most 7 work items, not 8");
  fake_reset();
  fake.arguments = 5;
  opencl_refuse(&of, NULL, EC_ERROR_DESCRIPTOR, "takes 5 arguments");
  fake_reset();
  of.launches[1].kernel = "ec_other";
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE, "find kernel 'ec_other'");
}

static void test_names(void) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  const char *const names[] = {"Fake", "GPU", "Platform"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    ec_open_options options = opencl_options();
    options.device_name = names[i];
    ec_session *session = NULL;
    CHECK_STATUS(EC_OK, ec_session_open(&of.model, &options, &session));
    ec_session_close(session);
  }
}

/* Device of a session, of two of some types. */
static uint32_t chosen(uint32_t first, uint32_t second, const char *name) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  fake.devices = 2;
  fake.types[0] = first;
  fake.types[1] = second;
  ec_open_options options = opencl_options();
  options.device_name = name;
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&of.model, &options, &session));
  ec_session_close(session);
  return fake.chosen;
}

static void test_choice(void) {
  CHECK_EQUAL(0, chosen(CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_GPU, NULL));
  CHECK_EQUAL(1, chosen(CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_GPU, NULL));
  CHECK_EQUAL(1, chosen(CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_ACCELERATOR, NULL));
  CHECK_EQUAL(0, chosen(CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ACCELERATOR, NULL));
  CHECK_EQUAL(1, chosen(CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_CPU, "other"));
}

/* Every call of the driver fails once: a status, nothing is left, and the next attempt works.
 */
static void test_each_failure(int32_t result, ec_status expected, bool shares_memory,
                              uint32_t row_texels) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  uint32_t failures = 0;
  for (uint32_t at = 1;; ++at) {
    fake_reset();
    fake.fail_at = at;
    fake.fail_with = result;
    fake.shares_memory = shares_memory;
    fake.version = "OpenCL 2.1 fake";
    fake.row_texels = row_texels;
    ec_open_options options = opencl_options();
    ec_session *session = NULL;
    ec_status status = ec_session_open(&of.model, &options, &session);
    if (status == EC_OK) { /* also where there is another way: weights that are not shared */
      bool has_failed = fake.calls >= at;
      fake.fail_at = 0;
      opencl_run_and_compare(session, 3);
      ec_session_close(session);
      CHECK_EQUAL(0, fake.live);
      if (!has_failed) {
        break;
      }
      continue;
    }
    CHECK(status == expected || status == EC_ERROR_DEVICE_BUILD);
    CHECK(session == NULL);
    CHECK_EQUAL(0, fake.live);
    failures += 1;
  }
  CHECK(failures >= 10);
}

static void test_failing_runs(int32_t result, ec_status expected, bool shares_memory) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  fake_reset();
  fake.shares_memory = shares_memory;
  ec_session *session = opencl_open(&of);
  for (uint32_t call = 1; call <= 5; ++call) { /* two copies, an image, a kernel, the end */
    fake.calls = 0;
    fake.fail_at = call;
    fake.fail_with = result;
    CHECK_STATUS(expected, ec_session_run(session));
    fake.fail_at = 0;
    opencl_run_and_compare(session, 1);
  }
  for (uint32_t call = 1; call <= 11; ++call) {
    opencl_run_and_compare(session, 2);
    ec_call_profile profiles[OPENCL_CALLS] = {{0}};
    fake.calls = 0;
    fake.fail_at = call;
    CHECK_STATUS(expected, ec_session_run_profiled(session, profiles, OPENCL_CALLS));
    fake.fail_at = 0;
  }
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

static void open_and_close(const opencl_model *of, const ec_open_options *options,
                           uint32_t source_builds, uint32_t binary_builds) {
  ec_session *session = NULL;
  fake.source_builds = 0;
  fake.binary_builds = 0;
  CHECK_STATUS(EC_OK, ec_session_open(&of->model, options, &session));
  opencl_run_and_compare(session, 5);
  ec_session_close(session);
  CHECK_EQUAL(source_builds, fake.source_builds);
  CHECK_EQUAL(binary_builds, fake.binary_builds);
  CHECK_EQUAL(0, fake.live);
}

/* Options that a program is compiled with. */
static const char *options_of(const char *text, const char *own, const char *version,
                              const char *extensions) {
  opencl_model of;
  opencl_model_make(&of);
  of.program.text = text;
  of.program.text_bytes = strlen(text);
  of.program.options = own;
  fake_reset();
  fake.version = version;
  fake.extensions = extensions;
  ec_session_close(opencl_open(&of));
  return fake.options;
}

/* OpenCL C 3.0 only where it is what a dot product takes. */
static void test_language(void) {
  const char dots[] = "#ifdef cl_khr_integer_dot_product\n#endif\n";
  const char khr[] = "cl_khr_fp16 cl_khr_integer_dot_product";
  const char both[] = "cl_qcom_dot_product8 cl_khr_integer_dot_product";
  const char v2[] = "OpenCL 2.1 fake";
  const char v3[] = "OpenCL 3.0 fake";
  CHECK(strcmp("-cl-std=CL3.0", options_of(dots, "", v3, khr)) == 0);
  CHECK(strcmp("", options_of("\n", "", v3, khr)) == 0);
  CHECK(strcmp("", options_of(dots, "", v2, khr)) == 0);
  CHECK(strcmp("", options_of(dots, "", v3, "cl_khr_integer_dot_product_other")) == 0);
  CHECK(strcmp("", options_of(dots, "", v3, both)) == 0);
  CHECK(strcmp("-cl-other", options_of(dots, "-cl-other", v3, khr)) == 0);
}

/* Change one byte of the only file in a folder; its name is the key of the program. */
static void spoil(const char *path) {
  FILE *file = fopen(path, "r+b");
  CHECK(file != NULL);
  CHECK(fseek(file, -1, SEEK_END) == 0);
  int last = fgetc(file);
  CHECK(fseek(file, -1, SEEK_END) == 0);
  CHECK(fputc(last ^ 1, file) != EOF);
  CHECK(fclose(file) == 0);
}

static void test_cache(const char *folder, const char *(*find)(const char *folder)) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  ec_open_options options = opencl_options();
  options.device_cache = folder;
  open_and_close(&of, &options, 1, 0);
  open_and_close(&of, &options, 0, 1);
  spoil(find(folder));
  open_and_close(&of, &options, 1, 0);
  open_and_close(&of, &options, 0, 1);
  fake.refuses_binary = true;
  open_and_close(&of, &options, 1, 0);
  fake.refuses_binary = false;
  of.program.options = "-cl-other";
  open_and_close(&of, &options, 1, 0);
  options.device_cache = "/no/such/folder";
  ec_session *none = NULL;
  CHECK_STATUS(EC_ERROR_FILE, ec_session_open(&of.model, &options, &none));
  CHECK_MESSAGE("'/no/such/folder'");
}

#if defined(__unix__)
#include <dirent.h>
#include <unistd.h>

static const char *find_file(const char *folder) {
  static char path[512];
  DIR *directory = opendir(folder);
  CHECK(directory != NULL);
  path[0] = '\0';
  for (struct dirent *entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
    if (strstr(entry->d_name, ".clbin") != NULL) {
      (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
    }
  }
  CHECK(closedir(directory) == 0);
  CHECK(path[0] != '\0');
  return path;
}

static void test_cache_in_folder(void) {
  char folder[] = "/tmp/edgecomp-opencl-XXXXXX";
  CHECK(mkdtemp(folder) != NULL);
  test_cache(folder, find_file);
  while (remove(find_file(folder)) == 0 && rmdir(folder) != 0) {
  }
}
#endif

int main(void) {
  test_run(1024, 1u << 20, 2);
  test_run(4096, 1u << 20, 1); /* t is not aligned for a part: it has a buffer of its own */
  test_run(1024, 600, 0);      /* no buffer is large enough for all */
  test_refusals();
  test_names();
  test_choice();
  test_language();
  test_shared(false);
  test_shared(true);
  test_memory_that_is_used_again();
  test_tensors(false);
  test_tensors(true);
  for (int shares_memory = 0; shares_memory < 2; ++shares_memory) {
    for (uint32_t row_texels = 0; row_texels <= 4; row_texels += 4) {
      test_each_failure(CL_MEM_OBJECT_ALLOCATION_FAILURE, EC_ERROR_DEVICE_MEMORY,
                        shares_memory, row_texels);
      test_each_failure(CL_DEVICE_NOT_AVAILABLE, EC_ERROR_DEVICE_LOST, shares_memory,
                        row_texels);
      test_each_failure(-30, EC_ERROR_DEVICE, shares_memory, row_texels);
    }
    test_failing_runs(CL_OUT_OF_RESOURCES, EC_ERROR_DEVICE_MEMORY, shares_memory);
    test_failing_runs(CL_INVALID_COMMAND_QUEUE, EC_ERROR_DEVICE_LOST, shares_memory);
  }
#if defined(__unix__)
  test_cache_in_folder();
#endif
  return 0;
}
