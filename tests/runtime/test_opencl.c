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

static ec_open_options options_of(void) {
  ec_open_options options = ec_open_options_default();
  options.skip_hash = 1;
  return options;
}

static ec_session *open_good(const opencl_model *of) {
  ec_open_options options = options_of();
  ec_session *session = NULL;
  CHECK_STATUS(EC_OK, ec_session_open(&of->model, &options, &session));
  return session;
}

/* A whole life: open, runs, profile, close; nothing is left. */
static void test_run(uint32_t alignment_bits, uint64_t largest_bytes, uint32_t parts) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  fake.alignment_bits = alignment_bits;
  fake.largest_bytes = largest_bytes;
  ec_session *session = open_good(&of);
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

/* Sizes of a run: as many groups and bytes as there are, and the kernel gets the size. */
static void test_sizes(bool shares_memory) {
  static const int64_t sizes[] = {OPENCL_ELEMENTS, 9, 1, 24, 9};
  opencl_model of;
  opencl_model_make_dynamic(&of);
  fake_reset();
  fake.shares_memory = shares_memory;
  ec_session *session = open_good(&of);
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    size_t n = (size_t)sizes[i];
    fake.items = fake.copied_bytes = 0;
    opencl_run_sized(session, sizes[i]);
    CHECK_EQUAL((n + OPENCL_GROUP - 1) / OPENCL_GROUP * OPENCL_GROUP, fake.items);
    CHECK_EQUAL(shares_memory ? 0 : 2 * n * sizeof(float), fake.copied_bytes);
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS - 1));
  CHECK_EQUAL(500, profiles[1].total_ns);
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

/* A kernel without groups is not started. */
static void test_no_groups(void) {
  static const ec_term n_term[] = {{1, 1, {0}}};
  static const ec_extent whole[] = {
      {n_term, 1, OPENCL_GROUP}, {n_term, 1, 1}, {n_term, 1, OPENCL_ELEMENTS}};
  opencl_model of;
  opencl_model_make_dynamic(&of);
  of.launches[1].global_sizes[0] = 8 * OPENCL_GROUP;
  of.launches[1].global_sizes[1] = OPENCL_ELEMENTS;
  of.sized[1].items = whole;
  fake_reset();
  ec_session *session = open_good(&of);
  const int64_t few = OPENCL_ELEMENTS - 1; /* none in the last dimension */
  CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, &few, 1));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS - 1));
  CHECK_EQUAL(0, fake.items);
  CHECK_EQUAL(0, profiles[1].total_ns);
  ec_session_close(session);
}

/* Memory of the CPU's: nothing is copied, and between runs all of it is the CPU's. */
static void test_shared(bool refuses_weights) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  fake.shares_memory = true;
  fake.refuses_weights = refuses_weights;
  ec_session *session = open_good(&of);
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

/* x and the weights as images: over their buffers or with memory of their own, which only the
 * weights keep from run to run. */
static void test_images(uint32_t row_texels, uint32_t base_texels, bool shares_memory,
                        uint32_t of_buffers) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  fake_reset();
  fake.extensions = "cl_khr_one cl_khr_image2d_from_buffer cl_khr_two";
  fake.row_texels = row_texels;
  fake.base_texels = base_texels;
  fake.shares_memory = shares_memory;
  ec_session *session = open_good(&of);
  CHECK_EQUAL(of_buffers, fake.images_of_buffers);
  CHECK_EQUAL(2 - of_buffers, fake.images);
  for (uint32_t run = 0; run < 3; ++run) {
    fake.filled_images = 0;
    opencl_run_and_compare(session, (float)run);
    CHECK_EQUAL(of_buffers == 0 ? 1 : 0, fake.filled_images);
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS));
  opencl_run_and_compare(session, 9);
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live + fake.mapped);
}

/* A driver that refuses to make them over buffers gets images with memory of their own. */
static void test_refused_images_of_buffers(void) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  fake_reset();
  fake.version = "OpenCL 3.0 fake";
  fake.row_texels = 4;
  fake.refuses_images_of_buffers = true;
  ec_session *session = open_good(&of);
  CHECK_EQUAL(2, fake.images);
  opencl_run_and_compare(session, 6);
  CHECK_EQUAL(1, fake.filled_images);
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

/* The last row of x ends behind it; its buffer reaches as far. */
static void test_rows_behind_the_end(uint32_t alignment_bits, uint64_t largest_bytes) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  of.images[0] = (ec_image){0, 16, 1, 0};
  fake_reset();
  fake.version = "OpenCL 2.0 fake"; /* which has images over buffers without an extension */
  fake.row_texels = 16;
  fake.alignment_bits = alignment_bits;
  fake.largest_bytes = largest_bytes;
  ec_session *session = open_good(&of);
  CHECK_EQUAL(1, fake.images_of_buffers);
  CHECK_EQUAL(1, fake.images);
  opencl_run_and_compare(session, 4);
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

/* Calls that read a tensor alike have one image of it. */
static void test_images_are_shared(void) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  ec_call calls[OPENCL_CALLS + 1];
  for (uint32_t i = 0; i < OPENCL_CALLS + 1; ++i) {
    calls[i] = of.calls[i < 2 ? i : i - 1];
  }
  of.model.calls = calls;
  of.model.call_count = OPENCL_CALLS + 1;
  fake_reset();
  ec_session *session = open_good(&of);
  CHECK_EQUAL(2, fake.images);
  opencl_run_and_compare(session, 2);
  CHECK_EQUAL(2, fake.filled_images); /* in front of either kernel */
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

/* What only the device has is brought from there. */
static void test_tensors(bool shares_memory) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  fake.shares_memory = shares_memory;
  ec_session *session = open_good(&of);
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
  ec_session *session = open_good(&of);
  CHECK_EQUAL(0, fake.mapped);
  ec_session_close(session);
}

static void refuse(const opencl_model *of, const ec_open_options *options, ec_status expected,
                   const char *message) {
  ec_session *session = NULL;
  ec_open_options usual = options_of();
  CHECK_STATUS(expected,
               ec_session_open(&of->model, options != NULL ? options : &usual, &session));
  CHECK_MESSAGE(message);
  CHECK(session == NULL);
  CHECK_EQUAL(0, fake.live);
}

static void test_refusals(void) {
  opencl_model of;
  opencl_model_make(&of);
  ec_open_options named = options_of();
  fake_reset();
  fake.is_absent = true;
  refuse(&of, NULL, EC_ERROR_DEVICE_ABSENT, "no driver");
  fake_reset();
  fake.has_no_platform = true;
  refuse(&of, NULL, EC_ERROR_DEVICE_ABSENT, "no OpenCL device");
  fake_reset();
  named.device_name = "Adreno";
  refuse(&of, &named, EC_ERROR_DEVICE_ABSENT, "named 'Adreno'");
  fake.version = "OpenCL 1.1 old";
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "has version 1.1, the kernels need 1.2");
  fake.version = "something else";
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "has version 0.0");
  fake_reset();
  fake.rounds_to_zero = true;
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "does not round to the nearest float");
  fake_reset();
  of.program.extensions = "cl_khr_two,cl_khr_on";
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "has no cl_khr_on,");
  of.program.extensions = "cl_khr_two,cl_khr_one";
  fake.refuses_source = true;
  refuse(&of, NULL, EC_ERROR_DEVICE_BUILD, "error: line 1");
  fake_reset();
  fake.most_group_items = 7;
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "groups of at most 7 work items, not 8");
  fake_reset();
  fake.arguments = 5;
  refuse(&of, NULL, EC_ERROR_DESCRIPTOR, "takes 5 arguments");
  fake_reset();
  of.launches[1].kernel = "ec_other";
  refuse(&of, NULL, EC_ERROR_DEVICE, "find kernel 'ec_other'");
}

static void test_refused_images(void) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  fake_reset();
  fake.has_images = false;
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "has no images, and the kernels read 'x' as one");
  fake_reset();
  fake.most_image_width = 3;
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE,
         "has images of at most 3 x 64 texels, the kernels read 'x' as one of 4 x 2");
  fake_reset();
  fake.most_image_height = 1;
  refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "at most 64 x 1 texels");
  fake_reset();
  for (uint32_t at = 1; fake.images == 0; ++at) { /* the driver's own reasons */
    const int32_t results[] = {CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED};
    fake_reset();
    fake.fail_at = at;
    fake.fail_with = results[at % 2];
    ec_open_options options = options_of();
    ec_session *session = NULL;
    ec_status status = ec_session_open(&of.model, &options, &session);
    CHECK(status == EC_ERROR_DEVICE_FEATURE || status == EC_ERROR_DEVICE_BUILD);
    CHECK_EQUAL(0, fake.live);
  }
  opencl_model_make(&of); /* none is asked of a device that needs none */
  fake_reset();
  fake.has_images = false;
  ec_session_close(open_good(&of));
}

static void test_names(void) {
  opencl_model of;
  opencl_model_make(&of);
  fake_reset();
  const char *const names[] = {"Fake", "GPU", "Platform"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    ec_open_options options = options_of();
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
  ec_open_options options = options_of();
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
    ec_open_options options = options_of();
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
  ec_session *session = open_good(&of);
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
  ec_open_options options = options_of();
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
  for (int shares_memory = 0; shares_memory < 2; ++shares_memory) {
    test_images(0, 0, shares_memory, 0);
    test_images(4, 0, shares_memory, 2);
    test_images(4, 4, shares_memory, 2); /* 64 bytes, as everything is aligned */
    test_images(8, 0, shares_memory, 0); /* rows are shorter */
  }
  test_rows_behind_the_end(1024, 1u << 20);
  test_rows_behind_the_end(1024, 600);
  test_refused_images_of_buffers();
  test_images_are_shared();
  test_refused_images();
  test_refusals();
  test_names();
  test_choice();
  test_sizes(false);
  test_sizes(true);
  test_no_groups();
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
