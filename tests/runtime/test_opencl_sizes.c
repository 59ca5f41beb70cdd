/* Sizes that differ from run to run, in the OpenCL back end. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "fake_opencl.h"
#include "opencl_model.h"
#include "opencl_session.h"

/* Sizes of a run: as many groups and bytes as there are, and the kernel gets the size. */
static void test_sizes(bool shares_memory) {
  static const int64_t sizes[] = {OPENCL_ELEMENTS, 9, 1, 24, 9};
  opencl_model of;
  opencl_model_make_dynamic(&of);
  fake_reset();
  fake.shares_memory = shares_memory;
  ec_session *session = opencl_open(&of);
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
  ec_session *session = opencl_open(&of);
  const int64_t few = OPENCL_ELEMENTS - 1; /* none in the last dimension */
  CHECK_STATUS(EC_OK, ec_session_set_input_shape(session, 0, &few, 1));
  CHECK_STATUS(EC_OK, ec_session_run(session));
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS - 1));
  CHECK_EQUAL(0, fake.items);
  CHECK_EQUAL(0, profiles[1].total_ns);
  ec_session_close(session);
  CHECK_EQUAL(0, fake.live);
}

int main(void) {
  test_sizes(false);
  test_sizes(true);
  test_no_groups();
  return 0;
}
