/* Tensors that kernels of the OpenCL back end read as images. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "device/opencl/cl.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "fake_opencl.h"
#include "opencl_model.h"
#include "opencl_session.h"

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
  ec_session *session = opencl_open(&of);
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
  ec_session *session = opencl_open(&of);
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
  ec_session *session = opencl_open(&of);
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
  ec_session *session = opencl_open(&of);
  CHECK_EQUAL(2, fake.images);
  opencl_run_and_compare(session, 2);
  CHECK_EQUAL(2, fake.filled_images); /* in front of either kernel */
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

static void test_refused_images(void) {
  opencl_model of;
  opencl_model_make(&of);
  opencl_model_read_images(&of, 4);
  fake_reset();
  fake.has_images = false;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE,
                "has no images, and the kernels read 'x' as one");
  fake_reset();
  fake.most_image_width = 3;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE,
                "has images of at most 3 x 64 texels, the kernels read 'x' as one of 4 x 2");
  fake_reset();
  fake.most_image_height = 1;
  opencl_refuse(&of, NULL, EC_ERROR_DEVICE_FEATURE, "at most 64 x 1 texels");
  fake_reset();
  for (uint32_t at = 1; fake.images == 0; ++at) { /* the driver's own reasons */
    const int32_t results[] = {CL_INVALID_IMAGE_SIZE, CL_IMAGE_FORMAT_NOT_SUPPORTED};
    fake_reset();
    fake.fail_at = at;
    fake.fail_with = results[at % 2];
    ec_open_options options = opencl_options();
    ec_session *session = NULL;
    ec_status status = ec_session_open(&of.model, &options, &session);
    CHECK(status == EC_ERROR_DEVICE_FEATURE || status == EC_ERROR_DEVICE_BUILD);
    CHECK_EQUAL(0, fake.live);
  }
  opencl_model_make(&of); /* none is asked of a device that needs none */
  fake_reset();
  fake.has_images = false;
  ec_session_close(opencl_open(&of));
}

int main(void) {
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
  return 0;
}
