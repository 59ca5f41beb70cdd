/* The OpenCL back end with this machine's driver; skipped where there is none. */
#include <stdint.h>
#include <stdio.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "opencl_model.h"

#define SKIPPED 77

int main(void) {
  opencl_model of;
  opencl_model_make(&of);
  ec_open_options options = ec_open_options_default();
  options.skip_hash = 1;
  ec_session *session = NULL;
  ec_status status = ec_session_open(&of.model, &options, &session);
  if (status == EC_ERROR_DEVICE_ABSENT) {
    (void)printf("skipped: %s\n", ec_last_message());
    return SKIPPED;
  }
  CHECK_STATUS(EC_OK, status);
  for (int run = 0; run < 3; ++run) {
    opencl_run_and_compare(session, (float)run);
  }
  ec_call_profile profiles[OPENCL_CALLS] = {{0}};
  CHECK_STATUS(EC_OK, ec_session_run_profiled(session, profiles, OPENCL_CALLS));
  CHECK_EQUAL(1, profiles[1].runs);
  ec_session_close(session);
  for (uint32_t width = 1; width <= 8; width *= 2) { /* also as images, where it has them */
    opencl_model_read_images(&of, width);
    status = ec_session_open(&of.model, &options, &session);
    if (status == EC_ERROR_DEVICE_FEATURE) {
      (void)printf("without images: %s\n", ec_last_message());
      break;
    }
    CHECK_STATUS(EC_OK, status);
    opencl_run_and_compare(session, (float)width);
    ec_session_close(session);
  }
  opencl_model broken;
  opencl_model_make(&broken);
  broken.program.text = "__kernel void ec_test_scale(";
  broken.program.text_bytes = sizeof "__kernel void ec_test_scale(" - 1;
  CHECK_STATUS(EC_ERROR_DEVICE_BUILD, ec_session_open(&broken.model, &options, &session));
  CHECK_MESSAGE("does not compile the kernels");
  return 0;
}
