/* The runner's command line. */
#ifndef EDGECOMP_TOOLS_ARGUMENTS_H
#define EDGECOMP_TOOLS_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "edgecomp/model.h"

typedef struct input_argument {
  const char *name; /* not NUL-terminated: `name_bytes` long */
  size_t name_bytes;
  const char *path;
} input_argument;

typedef struct shape_argument {
  const char *name; /* not NUL-terminated: `name_bytes` long */
  size_t name_bytes;
  int64_t shape[EC_MAX_RANK];
  uint32_t rank;
} shape_argument;

typedef struct arguments {
  const char *program;
  const char *weights_path; /* NULL: not given */
  const char *output_folder;
  const char *device_name;  /* NULL: not given */
  const char *device_cache; /* NULL: not given */
  uint32_t plan;            /* ec_plan_choice */
  input_argument *inputs;
  uint32_t input_count;
  shape_argument *shapes;
  uint32_t shape_count;
  bool random_inputs;
  uint32_t threads;
  uint32_t warmup_runs;
  uint32_t timed_runs;
  double longest_seconds; /* of the timed runs; 0: no limit */
  bool skip_hash;
  bool profile;
  bool json;
  bool info;
  bool serve;
} arguments;

/* Read the command line; ends the process for --help and for anything that is wrong. The
 * strings point into argv. */
arguments arguments_parse(int argc, char **argv);

#endif /* EDGECOMP_TOOLS_ARGUMENTS_H */
