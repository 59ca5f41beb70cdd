#include "fake_opencl.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "core/message.h"
#include "device/opencl/cl.h"
#include "device/opencl/driver.h"
#include "edgecomp/edgecomp.h"

fake_opencl fake;

void fake_reset(void) {
  fake = (fake_opencl){.version = "OpenCL 1.2 fake",
                       .extensions = "cl_khr_one cl_khr_two",
                       .devices = 1,
                       .types = {CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_GPU},
                       .alignment_bits = 1024,
                       .largest_bytes = 1u << 20,
                       .most_group_items = 64,
                       .has_images = true,
                       .most_image_width = 64,
                       .most_image_height = 64,
                       .arguments = 4};
}

struct _cl_mem {
  uint8_t *data;
  struct _cl_mem *whole; /* of a part, and of an image over a buffer */
  size_t bytes;          /* of a buffer */
  bool is_session_memory;
  bool is_mapped;
  size_t image_bytes; /* 0 for a buffer */
};
struct _cl_kernel {
  cl_mem buffers[3];
  int32_t plus;
};
struct _cl_program {
  bool is_binary;
};

static const unsigned char binary[] = "a binary of the fake driver";
static int handle;     /* stands for objects without contents */
static int devices[2]; /* stand for themselves */

static uint32_t number_of(cl_device_id device) {
  return (void *)device == (void *)&devices[1] ? 1 : 0;
}

/* CL_SUCCESS, or the result that this call is told to have. */
static cl_int outcome(void) {
  fake.calls += 1;
  return fake.calls == fake.fail_at ? fake.fail_with : CL_SUCCESS;
}

/* Whether an object is made. */
static bool is_made(cl_int *out_result) {
  *out_result = outcome();
  fake.live += *out_result == CL_SUCCESS ? 1 : 0;
  return *out_result == CL_SUCCESS;
}

static cl_int released(void) {
  CHECK(fake.live != 0);
  fake.live -= 1;
  return CL_SUCCESS;
}

static cl_int answer(const void *data, size_t bytes, size_t room, void *out,
                     size_t *out_bytes) {
  if (out_bytes != NULL) {
    *out_bytes = bytes;
  }
  if (out != NULL) {
    CHECK(room >= bytes);
    memcpy(out, data, bytes);
  }
  return CL_SUCCESS;
}

static cl_int GetPlatformIDs(cl_uint room, cl_platform_id *out, cl_uint *out_count) {
  CHECK(room >= 1);
  out[0] = (cl_platform_id)(void *)&handle;
  *out_count = fake.has_no_platform ? 0 : 1;
  return fake.has_no_platform ? -1001 : CL_SUCCESS; /* as Khronos' loader says it */
}

static cl_int GetPlatformInfo(cl_platform_id platform, cl_uint what, size_t room, void *out,
                              size_t *out_bytes) {
  (void)platform;
  CHECK(what == CL_PLATFORM_NAME);
  return answer("Fake Platform", sizeof "Fake Platform", room, out, out_bytes);
}

static cl_int GetDeviceIDs(cl_platform_id platform, cl_bitfield type, cl_uint room,
                           cl_device_id *out, cl_uint *out_count) {
  (void)platform;
  CHECK(type == CL_DEVICE_TYPE_ALL && room >= fake.devices);
  for (uint32_t i = 0; i < fake.devices; ++i) {
    out[i] = (cl_device_id)(void *)&devices[i];
  }
  *out_count = fake.devices;
  return CL_SUCCESS;
}

static cl_int GetDeviceInfo(cl_device_id device, cl_uint what, size_t room, void *out,
                            size_t *out_bytes) {
  const cl_bitfield type = fake.types[number_of(device)];
  const char *name = type == CL_DEVICE_TYPE_GPU ? "Fake GPU" : "Fake other";
  const cl_bool shares = fake.shares_memory;
  const cl_bool images = fake.has_images;
  const cl_bitfield rounding = fake.rounds_to_zero ? 1u << 3 : CL_FP_ROUND_TO_NEAREST;
  switch (what) {
    case CL_DEVICE_NAME:
      return answer(name, strlen(name) + 1, room, out, out_bytes);
    case CL_DRIVER_VERSION:
      return answer("1", 2, room, out, out_bytes);
    case CL_DEVICE_VERSION:
      return answer(fake.version, strlen(fake.version) + 1, room, out, out_bytes);
    case CL_DEVICE_EXTENSIONS:
      return answer(fake.extensions, strlen(fake.extensions) + 1, room, out, out_bytes);
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE:
      return answer(&fake.largest_bytes, sizeof fake.largest_bytes, room, out, out_bytes);
    case CL_DEVICE_MEM_BASE_ADDR_ALIGN:
      return answer(&fake.alignment_bits, sizeof fake.alignment_bits, room, out, out_bytes);
    case CL_DEVICE_HOST_UNIFIED_MEMORY:
      return answer(&shares, sizeof shares, room, out, out_bytes);
    case CL_DEVICE_SINGLE_FP_CONFIG:
      return answer(&rounding, sizeof rounding, room, out, out_bytes);
    case CL_DEVICE_IMAGE_SUPPORT:
      return answer(&images, sizeof images, room, out, out_bytes);
    case CL_DEVICE_IMAGE2D_MAX_WIDTH:
      return answer(&fake.most_image_width, sizeof(size_t), room, out, out_bytes);
    case CL_DEVICE_IMAGE2D_MAX_HEIGHT:
      return answer(&fake.most_image_height, sizeof(size_t), room, out, out_bytes);
    case CL_DEVICE_IMAGE_PITCH_ALIGNMENT:
      return answer(&fake.row_texels, sizeof fake.row_texels, room, out, out_bytes);
    case CL_DEVICE_IMAGE_BASE_ADDRESS_ALIGNMENT:
      return answer(&fake.base_texels, sizeof fake.base_texels, room, out, out_bytes);
    case CL_DEVICE_TYPE:
      return answer(&type, sizeof type, room, out, out_bytes);
    default:
      return -30;
  }
}

static cl_context CreateContext(const intptr_t *properties, cl_uint count,
                                const cl_device_id *ids, cl_notify notify, void *data,
                                cl_int *out_result) {
  (void)properties;
  CHECK(count == 1);
  fake.chosen = number_of(ids[0]);
  (void)notify;
  (void)data;
  return is_made(out_result) ? (cl_context)(void *)&handle : NULL;
}

static cl_int ReleaseContext(cl_context context) {
  (void)context;
  return released();
}

static cl_command_queue CreateCommandQueue(cl_context context, cl_device_id device,
                                           cl_bitfield properties, cl_int *out_result) {
  (void)context;
  (void)device;
  (void)properties;
  return is_made(out_result) ? (cl_command_queue)(void *)&handle : NULL;
}

static cl_int ReleaseCommandQueue(cl_command_queue queue) {
  (void)queue;
  return released();
}

static cl_mem CreateBuffer(cl_context context, cl_bitfield flags, size_t bytes, void *contents,
                           cl_int *out_result) {
  (void)context;
  bool is_session_memory = (flags & CL_MEM_USE_HOST_PTR) != 0;
  if (is_session_memory && (flags & CL_MEM_READ_ONLY) != 0 && fake.refuses_weights) {
    *out_result = -37;
    return NULL;
  }
  if (!is_made(out_result)) {
    return NULL;
  }
  cl_mem made = calloc(1, sizeof *made);
  CHECK(made != NULL && bytes != 0);
  made->bytes = bytes;
  if (is_session_memory) {
    made->is_session_memory = true;
    made->data = contents;
    return made;
  }
  made->data = malloc(bytes);
  CHECK(made->data != NULL);
  memset(made->data, 0xa5, bytes);
  if ((flags & CL_MEM_COPY_HOST_PTR) != 0) {
    memcpy(made->data, contents, bytes);
  }
  return made;
}

static cl_mem CreateSubBuffer(cl_mem whole, cl_bitfield flags, cl_uint kind,
                              const void *region, cl_int *out_result) {
  (void)flags;
  CHECK(kind == CL_BUFFER_CREATE_TYPE_REGION);
  const cl_buffer_region *part = region;
  CHECK(part->origin % (fake.alignment_bits / 8) == 0);
  if (!is_made(out_result)) {
    return NULL;
  }
  fake.parts += 1;
  cl_mem made = calloc(1, sizeof *made);
  CHECK(made != NULL);
  made->data = whole->data + part->origin;
  made->bytes = part->size;
  CHECK(part->origin + part->size <= whole->bytes);
  made->whole = whole;
  return made;
}

static cl_mem CreateImage(cl_context context, cl_bitfield flags, const cl_image_format *format,
                          const cl_image_desc *desc, void *contents, cl_int *out_result) {
  (void)context;
  CHECK(desc->image_type == CL_MEM_OBJECT_IMAGE2D && format->image_channel_order == CL_RGBA);
  CHECK(format->image_channel_data_type == CL_FLOAT && (flags & CL_MEM_READ_ONLY) != 0);
  CHECK(desc->image_width <= fake.most_image_width);
  CHECK(desc->image_height <= fake.most_image_height);
  const size_t row_bytes = 4 * sizeof(float) * desc->image_width;
  if (desc->buffer != NULL && fake.refuses_images_of_buffers) {
    *out_result = -40;
    return NULL;
  }
  if (!is_made(out_result)) {
    return NULL;
  }
  cl_mem made = calloc(1, sizeof *made);
  CHECK(made != NULL);
  made->image_bytes = row_bytes * desc->image_height;
  if (desc->buffer != NULL) {
    CHECK(contents == NULL && desc->image_row_pitch == row_bytes);
    CHECK(fake.row_texels != 0 && desc->image_width % fake.row_texels == 0);
    CHECK(made->image_bytes <= desc->buffer->bytes);
    made->data = desc->buffer->data;
    made->whole = desc->buffer;
    fake.images_of_buffers += 1;
    return made;
  }
  CHECK(((flags & CL_MEM_COPY_HOST_PTR) != 0) == (contents != NULL));
  made->data = malloc(made->image_bytes);
  CHECK(made->data != NULL);
  memset(made->data, 0x5a, made->image_bytes);
  if (contents != NULL) {
    memcpy(made->data, contents, made->image_bytes);
  }
  fake.images += 1;
  return made;
}

static cl_int ReleaseMemObject(cl_mem buffer) {
  CHECK(!buffer->is_mapped);
  if (buffer->whole == NULL && !buffer->is_session_memory) {
    free(buffer->data);
  }
  free(buffer);
  return released();
}

static cl_int make_event(cl_event *event) {
  cl_int result = outcome();
  fake.unfinished += result == CL_SUCCESS ? 1 : 0;
  if (event != NULL && result == CL_SUCCESS) {
    *event = (cl_event)(void *)&handle;
    fake.live += 1;
  }
  return result;
}

static cl_int EnqueueReadBuffer(cl_command_queue queue, cl_mem buffer, cl_bool waits,
                                size_t offset, size_t bytes, void *out, cl_uint count,
                                const cl_event *events, cl_event *event) {
  (void)queue;
  (void)count;
  (void)events;
  CHECK(waits == 0 && !buffer->is_session_memory);
  cl_int result = make_event(event);
  if (result == CL_SUCCESS) {
    fake.copied_buffers += 1;
    fake.copied_bytes += bytes;
    memcpy(out, buffer->data + offset, bytes);
  }
  return result;
}

static cl_int EnqueueWriteBuffer(cl_command_queue queue, cl_mem buffer, cl_bool waits,
                                 size_t offset, size_t bytes, const void *data, cl_uint count,
                                 const cl_event *events, cl_event *event) {
  (void)queue;
  (void)count;
  (void)events;
  CHECK(waits == 0 && !buffer->is_session_memory);
  cl_int result = make_event(event);
  if (result == CL_SUCCESS) {
    fake.copied_buffers += 1;
    fake.copied_bytes += bytes;
    memcpy(buffer->data + offset, data, bytes);
  }
  return result;
}

static void *EnqueueMapBuffer(cl_command_queue queue, cl_mem buffer, cl_bool waits,
                              cl_bitfield flags, size_t offset, size_t bytes, cl_uint count,
                              const cl_event *events, cl_event *event, cl_int *out_result) {
  (void)queue;
  (void)bytes;
  (void)count;
  (void)events;
  CHECK(waits == 0 && offset == 0 && flags == (CL_MAP_READ | CL_MAP_WRITE));
  CHECK(buffer->is_session_memory && !buffer->is_mapped);
  *out_result = make_event(event);
  if (*out_result != CL_SUCCESS) {
    return NULL;
  }
  buffer->is_mapped = true;
  fake.mapped += 1;
  return buffer->data;
}

static cl_int EnqueueUnmapMemObject(cl_command_queue queue, cl_mem buffer, void *place,
                                    cl_uint count, const cl_event *events, cl_event *event) {
  (void)queue;
  (void)count;
  (void)events;
  CHECK(buffer->is_mapped && place == buffer->data);
  cl_int result = make_event(event);
  if (result == CL_SUCCESS) {
    buffer->is_mapped = false;
    fake.mapped -= 1;
  }
  return result;
}

static cl_int EnqueueCopyBufferToImage(cl_command_queue queue, cl_mem buffer, cl_mem image,
                                       size_t offset, const size_t *origin,
                                       const size_t *region, cl_uint count,
                                       const cl_event *events, cl_event *event) {
  (void)queue;
  (void)count;
  (void)events;
  CHECK(origin[0] == 0 && origin[1] == 0 && origin[2] == 0 && region[2] == 1);
  CHECK(!buffer->is_mapped && image->image_bytes != 0 && image->whole == NULL);
  CHECK(buffer->whole == NULL); /* see images.c */
  CHECK(region[0] * region[1] * 4 * sizeof(float) == image->image_bytes);
  CHECK(offset + image->image_bytes <= buffer->bytes);
  cl_int result = make_event(event);
  if (result == CL_SUCCESS) {
    fake.filled_images += 1;
    memcpy(image->data, buffer->data + offset, image->image_bytes);
  }
  return result;
}

static cl_program CreateProgramWithSource(cl_context context, cl_uint count,
                                          const char **texts, const size_t *bytes,
                                          cl_int *out_result) {
  (void)context;
  CHECK(count == 1 && strlen(texts[0]) == bytes[0]);
  return is_made(out_result) ? calloc(1, sizeof(struct _cl_program)) : NULL;
}

static cl_program CreateProgramWithBinary(cl_context context, cl_uint count,
                                          const cl_device_id *ids, const size_t *bytes,
                                          const unsigned char **binaries, cl_int *out_status,
                                          cl_int *out_result) {
  (void)context;
  (void)ids;
  CHECK(count == 1 && bytes[0] == sizeof binary);
  CHECK(memcmp(binaries[0], binary, sizeof binary) == 0);
  *out_status = CL_SUCCESS;
  if (!is_made(out_result)) {
    return NULL;
  }
  cl_program made = calloc(1, sizeof *made);
  CHECK(made != NULL);
  made->is_binary = true;
  return made;
}

static cl_int BuildProgram(cl_program program, cl_uint count, const cl_device_id *ids,
                           const char *options, cl_notify notify, void *data) {
  (void)count;
  (void)ids;
  (void)snprintf(fake.options, sizeof fake.options, "%s", options);
  (void)notify;
  (void)data;
  if (program->is_binary ? fake.refuses_binary : fake.refuses_source) {
    return CL_BUILD_PROGRAM_FAILURE;
  }
  fake.source_builds += program->is_binary ? 0 : 1;
  fake.binary_builds += program->is_binary ? 1 : 0;
  return outcome();
}

static cl_int GetProgramInfo(cl_program program, cl_uint what, size_t room, void *out,
                             size_t *out_bytes) {
  (void)program;
  const size_t bytes = sizeof binary;
  if (what == CL_PROGRAM_BINARY_SIZES) {
    return answer(&bytes, sizeof bytes, room, out, out_bytes);
  }
  CHECK(what == CL_PROGRAM_BINARIES);
  memcpy(*(unsigned char **)out, binary, sizeof binary);
  return CL_SUCCESS;
}

static cl_int GetProgramBuildInfo(cl_program program, cl_device_id device, cl_uint what,
                                  size_t room, void *out, size_t *out_bytes) {
  (void)program;
  (void)device;
  CHECK(what == CL_PROGRAM_BUILD_LOG);
  return answer("error: line 1", sizeof "error: line 1", room, out, out_bytes);
}

static cl_int ReleaseProgram(cl_program program) {
  free(program);
  return released();
}

static cl_kernel CreateKernel(cl_program program, const char *name, cl_int *out_result) {
  (void)program;
  if (strcmp(name, "ec_test_scale") != 0) {
    *out_result = -46;
    return NULL;
  }
  return is_made(out_result) ? calloc(1, sizeof(struct _cl_kernel)) : NULL;
}

static cl_int SetKernelArg(cl_kernel kernel, cl_uint index, size_t bytes, const void *value) {
  cl_int result = outcome();
  CHECK(index < 4);
  if (index < 3) {
    CHECK(bytes == sizeof(cl_mem));
    memcpy(&kernel->buffers[index], value, bytes);
  } else {
    CHECK(bytes == sizeof(int32_t));
    memcpy(&kernel->plus, value, bytes);
  }
  return result;
}

static cl_int GetKernelInfo(cl_kernel kernel, cl_uint what, size_t room, void *out,
                            size_t *out_bytes) {
  (void)kernel;
  CHECK(what == CL_KERNEL_NUM_ARGS);
  cl_int result = outcome();
  return result == CL_SUCCESS
             ? answer(&fake.arguments, sizeof fake.arguments, room, out, out_bytes)
             : result;
}

static cl_int GetKernelWorkGroupInfo(cl_kernel kernel, cl_device_id device, cl_uint what,
                                     size_t room, void *out, size_t *out_bytes) {
  (void)kernel;
  (void)device;
  CHECK(what == CL_KERNEL_WORK_GROUP_SIZE);
  return answer(&fake.most_group_items, sizeof fake.most_group_items, room, out, out_bytes);
}

static cl_int EnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
                                   cl_uint dimensions, const size_t *offsets,
                                   const size_t *global, const size_t *local, cl_uint count,
                                   const cl_event *events, cl_event *event) {
  (void)queue;
  (void)count;
  (void)events;
  CHECK(dimensions == 3 && offsets == NULL && global[0] % local[0] == 0);
  for (int i = 0; i < 3; ++i) { /* the device's while a kernel runs */
    CHECK(!kernel->buffers[i]->is_mapped);
  }
  cl_int result = make_event(event);
  fake.items += global[0];
  for (size_t i = 0; result == CL_SUCCESS && i < global[0]; ++i) {
    const float *x = (const float *)(void *)kernel->buffers[0]->data;
    const float *w = (const float *)(void *)kernel->buffers[1]->data;
    ((float *)(void *)kernel->buffers[2]->data)[i] = x[i] * w[i] + (float)kernel->plus;
  }
  return result;
}

static cl_int ReleaseKernel(cl_kernel kernel) {
  free(kernel);
  return released();
}

static cl_int ReleaseEvent(cl_event event) {
  (void)event;
  return released();
}

static cl_int GetEventProfilingInfo(cl_event event, cl_uint what, size_t room, void *out,
                                    size_t *out_bytes) {
  (void)event;
  const cl_ulong time = what == CL_PROFILING_COMMAND_END ? 1500 : 1000;
  cl_int result = outcome();
  return result == CL_SUCCESS ? answer(&time, sizeof time, room, out, out_bytes) : result;
}

static cl_int Finish(cl_command_queue queue) {
  (void)queue;
  fake.finishes += 1;
  fake.unfinished = 0;
  return outcome();
}

ec_status ec_cl_driver_load(ec_cl_driver *out_driver) {
  if (fake.is_absent) {
    return EC_FAIL(EC_ERROR_DEVICE_ABSENT, "no driver");
  }
#define FILL(name, result, parameters) .name = name,
  const ec_cl_driver driver = {EC_CL_FUNCTIONS(FILL)};
#undef FILL
  *out_driver = driver;
  return EC_OK;
}
