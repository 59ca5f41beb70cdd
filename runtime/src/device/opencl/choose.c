#include "device/opencl/choose.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/message.h"
#include "device/opencl/cl.h"
#include "device/opencl/driver.h"
#include "device/opencl/images.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

#define MOST_PLATFORMS 16
#define MOST_DEVICES 16
#define EXTENSIONS_BYTES 4096
#define VERSION_WITH_IMAGES_OF_BUFFERS 200
#define VERSION_WITH_C3 300

/* Text of a device, cut to the room there is; "" where it has none. */
static void read_text(const ec_cl_driver *driver, cl_device_id device, cl_uint what, char *out,
                      size_t room) {
  char text[EXTENSIONS_BYTES];
  size_t bytes = 0;
  out[0] = '\0';
  if (driver->GetDeviceInfo(device, what, sizeof text, text, &bytes) == CL_SUCCESS &&
      bytes != 0 && bytes <= sizeof text) {
    text[bytes - 1] = '\0';
    (void)snprintf(out, room, "%s", text);
  }
}

static uint64_t read_number(const ec_cl_driver *driver, cl_device_id device, cl_uint what,
                            size_t bytes) {
  uint64_t wide = 0;
  uint32_t narrow = 0;
  void *place = bytes == sizeof narrow ? (void *)&narrow : (void *)&wide;
  if (driver->GetDeviceInfo(device, what, bytes, place, NULL) != CL_SUCCESS) {
    return 0;
  }
  return bytes == sizeof narrow ? narrow : wide;
}

/* "OpenCL 3.0 vendor's text" is 300; 0 for anything else. */
static uint32_t version_of(const char *text) {
  unsigned major = 0;
  unsigned minor = 0;
  return sscanf(text, "OpenCL %2u.%2u", &major, &minor) == 2 ? 100 * major + 10 * minor : 0;
}

/* Length of the first word of a list that is not in the text, and the word; 0 for none. */
static size_t find_missing(const char *words, const char *text, const char **out_word) {
  for (const char *at = words; *at != '\0';) {
    at += strspn(at, ", ");
    size_t length = strcspn(at, ", ");
    bool is_there = length == 0;
    for (const char *own = text; !is_there && *own != '\0';) {
      own += strspn(own, " ");
      size_t own_length = strcspn(own, " ");
      is_there = own_length == length && memcmp(own, at, length) == 0;
      own += own_length;
    }
    if (!is_there) {
      *out_word = at;
      return length;
    }
    at += length;
  }
  return 0;
}

static ec_status check_program(const ec_cl_driver *driver, const ec_cl_device *device,
                               const ec_program *program) {
  char text[EXTENSIONS_BYTES];
  read_text(driver, device->id, CL_DEVICE_VERSION, text, sizeof text);
  uint32_t version = version_of(text);
  if (version < program->version) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "OpenCL device '%s' has version %" PRIu32 ".%" PRIu32
                   ", the kernels need %" PRIu32 ".%" PRIu32,
                   device->name, version / 100, version / 10 % 10, program->version / 100,
                   program->version / 10 % 10);
  }
  read_text(driver, device->id, CL_DEVICE_EXTENSIONS, text, sizeof text);
  const char *word = NULL;
  size_t length = find_missing(program->extensions, text, &word);
  if (length != 0) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "OpenCL device '%s' has no %.*s, which the kernels use", device->name,
                   (int)length, word);
  }
  return EC_OK;
}

/* Devices of the embedded profile may round towards zero: integers would differ from the
 * CPU's.
 */
static ec_status check_rounding(const ec_cl_driver *driver, const ec_cl_device *device) {
  uint64_t config =
      read_number(driver, device->id, CL_DEVICE_SINGLE_FP_CONFIG, sizeof(cl_bitfield));
  if ((config & CL_FP_ROUND_TO_NEAREST) == 0) {
    return EC_FAIL(EC_ERROR_DEVICE_FEATURE,
                   "OpenCL device '%s' does not round to the nearest float", device->name);
  }
  return EC_OK;
}

static ec_status check_programs(const ec_cl_driver *driver, const ec_cl_device *device,
                                const ec_model *model) {
  ec_status status = check_rounding(driver, device);
  for (uint32_t i = 0; status == EC_OK && i < model->program_count; ++i) {
    if (model->programs[i].device == EC_DEVICE_OPENCL) {
      status = check_program(driver, device, &model->programs[i]);
    }
  }
  return status == EC_OK ? ec_cl_images_check(device, model) : status;
}

/* 2.0 has images over buffers of its own, 3.0 where the alignment is not 0. */
static void describe_images(const ec_cl_driver *driver, ec_cl_device *out) {
  char text[EXTENSIONS_BYTES];
  const char *word = NULL;
  cl_device_id id = out->id;
  out->has_images = read_number(driver, id, CL_DEVICE_IMAGE_SUPPORT, sizeof(cl_bool)) != 0;
  out->most_image_width =
      (size_t)read_number(driver, id, CL_DEVICE_IMAGE2D_MAX_WIDTH, sizeof(size_t));
  out->most_image_height =
      (size_t)read_number(driver, id, CL_DEVICE_IMAGE2D_MAX_HEIGHT, sizeof(size_t));
  read_text(driver, id, CL_DEVICE_VERSION, text, sizeof text);
  bool is_able = version_of(text) >= VERSION_WITH_IMAGES_OF_BUFFERS;
  read_text(driver, id, CL_DEVICE_EXTENSIONS, text, sizeof text);
  if (!is_able && find_missing("cl_khr_image2d_from_buffer", text, &word) != 0) {
    return;
  }
  out->image_row_texels =
      (uint32_t)read_number(driver, id, CL_DEVICE_IMAGE_PITCH_ALIGNMENT, sizeof(cl_uint));
  uint64_t base =
      read_number(driver, id, CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT, sizeof(cl_uint));
  out->image_base_texels = base != 0 ? (uint32_t)base : 1;
}

static void describe_dots(const ec_cl_driver *driver, ec_cl_device *out) {
  char text[EXTENSIONS_BYTES];
  const char *word = NULL;
  read_text(driver, out->id, CL_DEVICE_VERSION, text, sizeof text);
  bool is_able = version_of(text) >= VERSION_WITH_C3;
  read_text(driver, out->id, CL_DEVICE_EXTENSIONS, text, sizeof text);
  out->has_dots_in_c3 = is_able &&
                        find_missing("cl_khr_integer_dot_product", text, &word) == 0 &&
                        find_missing("cl_qcom_dot_product8", text, &word) != 0;
}

static void describe(const ec_cl_driver *driver, cl_platform_id platform, cl_device_id id,
                     ec_cl_device *out) {
  *out = (ec_cl_device){.id = id, .platform = platform};
  read_text(driver, id, CL_DEVICE_NAME, out->name, sizeof out->name);
  read_text(driver, id, CL_DRIVER_VERSION, out->driver, sizeof out->driver);
  out->largest_bytes = read_number(driver, id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong));
  uint64_t bits = read_number(driver, id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof(cl_uint));
  out->alignment_bytes = bits >= 8 ? (size_t)(bits / 8) : 1;
  out->shares_memory =
      read_number(driver, id, CL_DEVICE_HOST_UNIFIED_MEMORY, sizeof(cl_bool)) != 0;
  describe_dots(driver, out);
  describe_images(driver, out);
}

/* Whether a device is one that the user has named. */
static bool is_wanted(const ec_cl_driver *driver, const ec_cl_device *device,
                      const char *wanted) {
  char platform[EC_CL_NAME_BYTES] = "";
  size_t bytes = 0;
  if (wanted == NULL || strstr(device->name, wanted) != NULL) {
    return true;
  }
  if (driver->GetPlatformInfo(device->platform, CL_PLATFORM_NAME, sizeof platform, platform,
                              &bytes) != CL_SUCCESS) {
    return false;
  }
  platform[sizeof platform - 1] = '\0';
  return strstr(platform, wanted) != NULL;
}

static int rank_of(const ec_cl_driver *driver, cl_device_id device) {
  uint64_t type = read_number(driver, device, CL_DEVICE_TYPE, sizeof(cl_bitfield));
  return (type & CL_DEVICE_TYPE_GPU) != 0           ? 3
         : (type & CL_DEVICE_TYPE_ACCELERATOR) != 0 ? 2
                                                    : 1;
}

ec_status ec_cl_choose(const ec_cl_driver *driver, const ec_model *model,
                       const ec_open_options *options, ec_cl_device *out_device) {
  const char *wanted = options->device_name;
  cl_platform_id platforms[MOST_PLATFORMS];
  cl_uint platform_count = 0;
  if (driver->GetPlatformIDs(MOST_PLATFORMS, platforms, &platform_count) != CL_SUCCESS) {
    platform_count = 0; /* as loaders say it where no driver is installed */
  }
  int best = 0;
  ec_status status = EC_FAIL(EC_ERROR_DEVICE_ABSENT, "this system has no OpenCL device%s%s%s",
                             wanted != NULL ? " named '" : "", wanted != NULL ? wanted : "",
                             wanted != NULL ? "'" : "");
  for (cl_uint p = 0; p < platform_count && p < MOST_PLATFORMS; ++p) {
    cl_device_id devices[MOST_DEVICES];
    cl_uint device_count = 0;
    if (driver->GetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MOST_DEVICES, devices,
                             &device_count) != CL_SUCCESS) {
      continue;
    }
    for (cl_uint d = 0; d < device_count && d < MOST_DEVICES; ++d) {
      ec_cl_device device;
      describe(driver, platforms[p], devices[d], &device);
      int rank = rank_of(driver, devices[d]);
      if (rank <= best || !is_wanted(driver, &device, wanted)) {
        continue;
      }
      ec_status fits = check_programs(driver, &device, model);
      if (fits == EC_OK) {
        best = rank;
        *out_device = device;
      }
      status = best != 0 ? EC_OK : fits;
    }
  }
  return status;
}
