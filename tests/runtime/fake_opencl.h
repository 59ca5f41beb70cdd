/* In the place of a driver of OpenCL: a device, or two, that compute on the CPU, and fail when
 * they are told to. */
#ifndef EDGECOMP_TESTS_RUNTIME_FAKE_OPENCL_H
#define EDGECOMP_TESTS_RUNTIME_FAKE_OPENCL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct fake_opencl {
  /* What it is like. */
  bool is_absent; /* no driver at all */
  bool has_no_platform;
  uint32_t devices;  /* one or two */
  uint32_t types[2]; /* of each; a GPU has another name than the rest */
  const char *version;
  const char *extensions;
  uint32_t alignment_bits;
  bool rounds_to_zero;
  bool shares_memory;
  bool refuses_weights; /* in the session's memory */
  uint64_t largest_bytes;
  size_t most_group_items;
  bool has_images;
  size_t most_image_width;
  size_t most_image_height;
  uint32_t row_texels; /* of images over buffers, 0 for none */
  uint32_t base_texels;
  bool refuses_images_of_buffers;
  uint32_t arguments; /* that the kernel says it takes */
  bool refuses_source;
  bool refuses_binary;
  /* The call of this number (from 1) that can fail does, with this result. */
  uint32_t fail_at;
  int32_t fail_with;
  /* What happened. */
  uint32_t calls; /* that can fail */
  uint32_t live;  /* objects that are not given back */
  uint32_t source_builds;
  uint32_t binary_builds;
  char options[64]; /* of the last build */
  uint32_t finishes;
  uint32_t unfinished;     /* commands since the last finish */
  uint32_t parts;          /* of buffers that were made */
  uint32_t copied_buffers; /* transfers between the memories */
  size_t copied_bytes;
  size_t items;    /* of kernels, in their first dimension */
  uint32_t mapped; /* buffers that are mapped now */
  uint32_t images; /* with memory of their own that were made */
  uint32_t images_of_buffers;
  uint32_t filled_images; /* from buffers */
  uint32_t chosen;        /* device of the last context */
} fake_opencl;

extern fake_opencl fake;

/* A good device; nothing has happened. */
void fake_reset(void);

#endif /* EDGECOMP_TESTS_RUNTIME_FAKE_OPENCL_H */
