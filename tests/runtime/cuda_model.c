#include "cuda_model.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "opencl_model.h"

cuda_emulator cuda_driver;

static void find(void *library, const char *name, void *out_function) {
  void *address = dlsym(library, name);
  CHECK(address != NULL);
  memcpy(out_function, &address, sizeof address);
}

void cuda_driver_load(void) {
  void *library = dlopen("libcuda.so.1", RTLD_NOW);
  CHECK(library != NULL);
  find(library, "ec_emulator_configure", (void *)&cuda_driver.configure);
  find(library, "ec_emulator_live", (void *)&cuda_driver.live);
  find(library, "ec_emulator_calls", (void *)&cuda_driver.calls);
  find(library, "ec_emulator_graphs", (void *)&cuda_driver.graphs);
  find(library, "ec_emulator_launches", (void *)&cuda_driver.launches);
  find(library, "ec_emulator_alone", (void *)&cuda_driver.alone);
  find(library, "ec_emulator_instances", (void *)&cuda_driver.instances);
  find(library, "ec_emulator_updates", (void *)&cuda_driver.updates);
}

const char *cuda_failure(uint32_t at, uint32_t result) {
  static char text[64];
  (void)snprintf(text, sizeof text, "fail_at=%" PRIu32 ";fail_with=%" PRIu32, at, result);
  return text;
}

static _Alignas(8) const char image[] = "// PTX";

static void move_to_cuda(opencl_model *out) {
  out->model.name = "cuda";
  out->program = (ec_program){image,          "sm_87 compute_87",     "",   sizeof image - 1,
                              EC_DEVICE_CUDA, EC_PROGRAM_CUDA_FATBIN, 1200, 0};
  for (uint32_t i = 0; i < 3; ++i) {
    out->calls[i].device = EC_DEVICE_CUDA;
  }
}

void cuda_model_make(opencl_model *out) {
  opencl_model_make(out);
  move_to_cuda(out);
}

void cuda_model_make_dynamic(opencl_model *out) {
  opencl_model_make_dynamic(out);
  move_to_cuda(out);
}

ec_status cuda_model_open(const opencl_model *model, const char *device,
                          ec_session **out_session) {
  ec_open_options options = ec_open_options_default();
  options.skip_hash = 1;
  options.device_name = device;
  return ec_session_open(&model->model, &options, out_session);
}
