/* Descriptors whose calls for a device are damaged are refused before a driver is asked. */
#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "opencl_model.h"
#include "session_helpers.h"

#define CHECK_BAD(part, change)       \
  do {                                \
    opencl_model of;                  \
    opencl_model_make(&of);           \
    change;                           \
    check_refused(&of.model, (part)); \
  } while (0)

static void test_programs(void) {
  CHECK_BAD("lacks its programs", of.model.programs = NULL);
  CHECK_BAD("program 0", of.program.text = NULL);
  CHECK_BAD("program 0", of.program.options = NULL);
  CHECK_BAD("program 0", of.program.extensions = NULL);
  CHECK_BAD("program 0", of.program.text_bytes = 0);
  CHECK_BAD("program 0", of.program.text_bytes -= 1);
  CHECK_BAD("program 0", of.program.device = EC_DEVICE_CPU);
  CHECK_BAD("program 0", of.program.device = EC_DEVICE_COUNT);
  CHECK_BAD("program 0", of.program.format = 0);
  CHECK_BAD("program 0", of.program.format = 2);
  CHECK_BAD("program 0", of.program.reserved = 1);
}

static void test_kernels(void) {
  CHECK_BAD("no launch that fits", of.calls[1].launch = NULL);
  CHECK_BAD("no launch that fits", of.calls[1].device = EC_DEVICE_CUDA);
  CHECK_BAD("no launch that fits", of.calls[1].strip = 1;
            of.calls[1].strip_flags = EC_STRIP_BEGINS; of.calls[2].strip = 2);
  CHECK_BAD("call 1", of.calls[1].workspace_bytes = 64; of.model.workspace_bytes = 64);
  CHECK_BAD("call 1", of.launches[1].kind = 0);
  CHECK_BAD("call 1", of.launches[1].kind = 4);
  CHECK_BAD("call 1", of.launches[1].program = 1);
  CHECK_BAD("call 1", of.launches[1].kernel = NULL);
  CHECK_BAD("call 1", of.launches[1].kernel = "");
  CHECK_BAD("call 1", of.launches[1].constants = NULL);
  CHECK_BAD("call 1", of.launches[1].constant_count = EC_MAX_LAUNCH_CONSTANTS + 1);
  CHECK_BAD("call 1", of.launches[1].local_sizes[0] = 5);
  CHECK_BAD("call 1", of.launches[1].local_sizes[2] = 0);
  CHECK_BAD("call 1", of.launches[1].global_sizes[0] = 0);
  CHECK_BAD("call 1", of.launches[1].global_sizes[1] = UINT32_MAX);
}

#define CHECK_BAD_IMAGE(change) CHECK_BAD("call 1", opencl_model_read_images(&of, 4); change)

static void test_images(void) {
  CHECK_BAD_IMAGE(of.launches[1].images = NULL);
  CHECK_BAD_IMAGE(of.images[0].argument = 3);
  CHECK_BAD_IMAGE(of.images[0].argument = 1); /* twice */
  CHECK_BAD_IMAGE(of.images[0].argument = 2); /* not in order */
  CHECK_BAD_IMAGE(of.images[0].width = 0);
  CHECK_BAD_IMAGE(of.images[0].height = 0);
  CHECK_BAD_IMAGE(of.images[0].reserved = 1);
  CHECK_BAD_IMAGE(of.images[0].height = 3); /* a row behind the tensor */
  CHECK_BAD_IMAGE(of.images[0].height = UINT32_MAX);
  CHECK_BAD_IMAGE(of.images[0].width = 64); /* a row that ends behind the arena */
  CHECK_BAD_IMAGE(of.images[0].width = UINT32_MAX);
  CHECK_BAD_IMAGE(of.images[1].width = 64); /* and behind the weights */
  CHECK_BAD_IMAGE(of.tensors[0].dtype = EC_DTYPE_INT64);
  CHECK_BAD_IMAGE(of.tensors[0].dtype = EC_DTYPE_BFLOAT16);
  CHECK_BAD("call 0", opencl_model_read_images(&of, 4); of.launches[0].image_count = 1;
            of.launches[0].images = of.images);
}

static void test_copies(void) {
  CHECK_BAD("call 0", of.launches[0].kernel = "kernel");
  CHECK_BAD("call 0", of.launches[0].program = 1);
  CHECK_BAD("call 0", of.launches[0].constant_count = 1);
  CHECK_BAD("call 0", of.launches[0].global_sizes[1] = 1);
  CHECK_BAD("call 0", of.launches[0].local_sizes[2] = 1);
  CHECK_BAD("call 0", of.calls[0].tensors = of.calls[1].tensors;
            of.calls[0].pointer_count = 2);
  CHECK_BAD("call 0", of.calls[0].tensors = of.calls[1].tensors + 1); /* of the weights */
}

#define CHECK_BAD_SIZE(change)           \
  do {                                   \
    opencl_model of;                     \
    opencl_model_make_dynamic(&of);      \
    change;                              \
    check_refused(&of.model, "of call"); \
  } while (0)

static void test_sizes(void) {
  static const uint64_t strides[3] = {4, 4, 4};
  static const ec_term n_term[] = {{1, 1, {0}}};
  static const ec_term huge_term[] = {{INT64_MAX, 1, {0}}};
  static const ec_term unknown_term[] = {{1, 1, {1}}};
  static const ec_extent every[] = {{n_term, 1, 1}, {n_term, 1, 1}, {n_term, 1, 1}};
  static const ec_extent huge[] = {{huge_term, 1, 1}};
  static const ec_extent unknown[] = {{unknown_term, 1, 1}};
  static const ec_extent none[] = {{n_term, 1, 0}};
  CHECK_BAD_SIZE(of.sized[1].items = NULL);
  CHECK_BAD_SIZE(of.sized[1].items = every); /* more groups than the launch has */
  CHECK_BAD_SIZE(of.sized[1].sizes = NULL);
  CHECK_BAD_SIZE(of.sized[1].sizes = huge);
  CHECK_BAD_SIZE(of.sized[1].sizes = unknown);
  CHECK_BAD_SIZE(of.sized[1].strides = strides);
  CHECK_BAD_SIZE(of.sized[1].reserved = 1);
  CHECK_BAD_SIZE(of.sized[1].size_count = EC_MAX_LAUNCH_CONSTANTS + 1);
  CHECK_BAD_SIZE(of.launches[1].constant_count = EC_MAX_LAUNCH_CONSTANTS);
  CHECK_BAD_SIZE(of.calls[1].first_item = 1);
  CHECK_BAD_SIZE(of.sized[0].items = huge);
  CHECK_BAD_SIZE(of.sized[0].items = none);
  CHECK_BAD_SIZE(of.sized[0].strides = strides);
  CHECK_BAD_SIZE(of.sized[0].sizes = every; of.sized[0].size_count = 1);
}

static void test_cpu(void) {
  CHECK_BAD("no launch that fits", of.calls[3].launch = &of.launches[1]);
  CHECK_BAD("has no kernel", of.calls[3].kernel = NULL);
}

int main(void) {
  test_programs();
  test_kernels();
  test_images();
  test_copies();
  test_sizes();
  test_cpu();
  return 0;
}
