/* Calls for a device that is not built in. */
#include <stdint.h>

#include "check.h"
#include "demo_model.h"
#include "edgecomp/edgecomp.h"

static void check_absent(uint32_t device, const char *name) {
  demo_copy copy;
  demo_copy_make(&copy);
  demo_put_on(&copy, 2, device);
  ec_session *session = NULL;
  uint64_t bytes = 0;
  CHECK_STATUS(EC_ERROR_DEVICE_ABSENT, ec_session_open(&copy.model, NULL, &session));
  CHECK_MESSAGE(name);
  CHECK_STATUS(EC_ERROR_DEVICE_ABSENT, ec_session_memory(&copy.model, NULL, &bytes));
  CHECK(session == NULL);
}

int main(void) {
  check_absent(EC_DEVICE_OPENCL, "OpenCL");
  check_absent(EC_DEVICE_CUDA, "CUDA");
  return 0;
}
