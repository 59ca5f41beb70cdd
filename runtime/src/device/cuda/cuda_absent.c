/* Stands in for the CUDA back end in builds without it. */
#include "core/message.h"
#include "device/backends.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"

static ec_status probe(const ec_model *model, const ec_open_options *options) {
  (void)options;
  return EC_FAIL(EC_ERROR_DEVICE_ABSENT,
                 "model '%s' has calls for CUDA, which is not part of this build",
                 model->name);
}

const ec_device_backend ec_device_cuda = {.name = "cuda", .probe = probe};
