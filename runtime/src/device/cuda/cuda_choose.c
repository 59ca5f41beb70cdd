#include "device/cuda/cuda_choose.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "core/message.h"
#include "device/cuda/cu.h"
#include "device/cuda/cu_status.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

static uint32_t read_number(const ec_cu_driver *driver, cu_device device, unsigned what) {
  int number = 0;
  cu_result result = driver->DeviceGetAttribute(&number, what, device);
  return result == CU_SUCCESS && number > 0 ? (uint32_t)number : 0;
}

static void describe(const ec_cu_driver *driver, cu_device id, ec_cu_device *out) {
  *out = (ec_cu_device){.id = id};
  if (driver->DeviceGetName(out->name, EC_CU_NAME_BYTES, id) != CU_SUCCESS) {
    out->name[0] = '\0';
  }
  out->name[EC_CU_NAME_BYTES - 1] = '\0';
  out->capability =
      10 * read_number(driver, id, CU_DEVICE_MAJOR) + read_number(driver, id, CU_DEVICE_MINOR);
  size_t bytes = 0;
  if (driver->DeviceTotalMem_v2(&bytes, id) == CU_SUCCESS) {
    out->memory_bytes = bytes;
  }
  for (unsigned d = 0; d < 3; ++d) {
    out->most_threads[d] = read_number(driver, id, CU_DEVICE_MAX_BLOCK_DIM_X + d);
    out->most_blocks[d] = read_number(driver, id, CU_DEVICE_MAX_GRID_DIM_X + d);
  }
}

/* Whether an image serves a device: code those of its generation that are not older, PTX all
 * that are not older. */
static bool is_for(const char *image, uint32_t capability) {
  const char *digits = strchr(image, '_');
  unsigned long made_for = digits != NULL ? strtoul(digits + 1, NULL, 10) : 0;
  bool is_code = strncmp(image, "sm_", 3) == 0;
  return made_for != 0 && made_for <= capability &&
         (!is_code || made_for / 10 == capability / 10);
}

static bool has_image(const ec_program *program, uint32_t capability) {
  for (const char *at = program->options; *at != '\0'; at += strcspn(at, " ")) {
    at += strspn(at, " ");
    if (is_for(at, capability)) {
      return true;
    }
  }
  return false;
}

static ec_status check_programs(const ec_cu_driver *driver, const ec_cu_device *device,
                                const ec_model *model) {
  for (uint32_t i = 0; i < model->program_count; ++i) {
    const ec_program *program = &model->programs[i];
    if (program->device != EC_DEVICE_CUDA) {
      continue;
    }
    if (driver->version < program->version) {
      return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                     "the CUDA driver has version %" PRIu32 ".%" PRIu32
                     ", the kernels need %" PRIu32 ".%" PRIu32,
                     driver->version / 100, driver->version / 10 % 10, program->version / 100,
                     program->version / 10 % 10);
    }
    if (!has_image(program, device->capability)) {
      return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                     "CUDA device '%s' has compute capability %" PRIu32 ".%" PRIu32
                     ", the model is built for %s",
                     device->name, device->capability / 10, device->capability % 10,
                     program->options);
    }
  }
  return EC_OK;
}

ec_status ec_cu_choose(const ec_cu_driver *driver, const ec_model *model,
                       const ec_open_options *options, ec_cu_device *out_device) {
  const char *wanted = options != NULL ? options->device_name : NULL;
  int count = 0;
  cu_result result = driver->DeviceGetCount(&count);
  if (result != CU_SUCCESS) {
    return ec_cu_absent(driver, result);
  }
  ec_status status = EC_FAIL(EC_ERROR_DEVICE_ABSENT, "this system has no CUDA device%s%s%s",
                             wanted != NULL ? " named '" : "", wanted != NULL ? wanted : "",
                             wanted != NULL ? "'" : "");
  for (int i = 0; i < count && status != EC_OK; ++i) {
    cu_device id = 0;
    ec_cu_device device;
    if (driver->DeviceGet(&id, i) != CU_SUCCESS) {
      continue;
    }
    describe(driver, id, &device);
    if (wanted == NULL || strstr(device.name, wanted) != NULL) {
      status = check_programs(driver, &device, model);
      *out_device = device;
    }
  }
  return status;
}
