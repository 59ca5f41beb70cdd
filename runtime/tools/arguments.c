#include "arguments.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "failure.h"

static const char help[] =
    "usage: edgecomp_run [options]\n"
    "\n"
    "Run the model that this program was linked with.\n"
    "\n"
    "  --weights FILE       weights; default: the model's own, or its file beside the "
    "program\n"
    "  --input NAME=FILE    contents of an input: raw little-endian elements, row-major\n"
    "  --shape NAME=1x7     shape of an input with dynamic dimensions (the largest)\n"
    "  --random-inputs      fill the other inputs: floats in [0, 1), bytes any, the rest 0\n"
    "  --output-dir DIR     write each output to DIR/NAME.bin (anything but letters and\n"
    "                       digits in NAME becomes _); where shapes differ from run to run\n"
    "                       that of an output is beside it, in NAME.shape\n"
    "  --threads N          threads that compute (1)\n"
    "  --device NAME        GPU whose name, or OpenCL platform's name, has NAME in it\n"
    "  --plan WHICH         auto: the CPU plan, if there is one, where the device fails;\n"
    "                       device: no other than the model's own; cpu: the CPU alone (auto)\n"
    "  --device-cache DIR   keep what OpenCL drivers compile in a folder that exists\n"
    "  --warmup-runs N      runs after the first that are not timed (0)\n"
    "  --num-runs N         timed runs (0)\n"
    "  --max-secs S         stop the timed runs after S seconds\n"
    "  --profile            also time each kernel call\n"
    "  --skip-hash          trust the contents of the weights\n"
    "  --json               report as JSON on standard output\n"
    "  --info               describe the model and end\n"
    "  --serve              stay and answer commands on standard input, one JSON line each:\n"
    "                       `run SECONDS MINIMUM_RUNS`, `profile RUNS`; ends with the input\n"
    "  --help               this text\n"
    "\n"
    "exit status: 0 done, 2 arguments or files, 8 the machine cannot run it, 10 wrong or "
    "damaged\n"
    "model or weights\n";

/* What stands at one place of the command line. */
typedef struct cursor {
  int argc;
  char **argv;
  int at;
  const char *name;   /* with the dashes */
  size_t name_length; /* up to the = */
  const char *value;  /* behind the =, or NULL */
} cursor;

static void read_option(cursor *from) {
  from->name = from->argv[from->at];
  from->name_length = strcspn(from->name, "=");
  from->value =
      from->name[from->name_length] == '=' ? from->name + from->name_length + 1 : NULL;
}

/* Whether the option is `name`; - and _ are the same. */
static bool is_option(const cursor *from, const char *name) {
  if (strlen(name) != from->name_length) {
    return false;
  }
  for (size_t i = 0; i < from->name_length; ++i) {
    bool is_dash = name[i] == '-' && i >= 2 && from->name[i] == '_';
    if (from->name[i] != name[i] && !is_dash) {
      return false;
    }
  }
  return true;
}

/* The option's value: behind its = or the next argument. */
static const char *take_value(cursor *from) {
  if (from->value != NULL) {
    return from->value;
  }
  if (from->at + 1 >= from->argc) {
    fail(EXIT_CODE_USAGE, "%s needs a value", from->name);
  }
  from->at += 1;
  return from->argv[from->at];
}

static bool take_flag(const cursor *from, const char *name) {
  if (!is_option(from, name)) {
    return false;
  }
  if (from->value != NULL) {
    fail(EXIT_CODE_USAGE, "%s takes no value", name);
  }
  return true;
}

static uint32_t take_count(cursor *from) {
  const char *text = take_value(from);
  char *end = NULL;
  errno = 0;
  unsigned long long value = strtoull(text, &end, 10);
  if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > INT32_MAX) {
    fail(EXIT_CODE_USAGE, "%.*s: '%s' is not a count", (int)from->name_length, from->name,
         text);
  }
  return (uint32_t)value;
}

static double take_seconds(cursor *from) {
  const char *text = take_value(from);
  char *end = NULL;
  double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value > 0) || value > 1e6) {
    fail(EXIT_CODE_USAGE, "%.*s: '%s' is not a time in seconds", (int)from->name_length,
         from->name, text);
  }
  return value;
}

static void take_input(cursor *from, arguments *out) {
  const char *text = take_value(from);
  const char *equals = strrchr(text, '='); /* names may contain one, paths seldom do */
  if (equals == NULL || equals == text || equals[1] == '\0') {
    fail(EXIT_CODE_USAGE, "--input: '%s' is not NAME=FILE", text);
  }
  input_argument *input = &out->inputs[out->input_count++];
  input->name = text;
  input->name_bytes = (size_t)(equals - text);
  input->path = equals + 1;
}

/* `1x7` or, for no dimensions, `scalar`. */
static bool read_shape(const char *text, shape_argument *out) {
  if (strcmp(text, "scalar") == 0) {
    return true;
  }
  for (;;) {
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || errno != 0 || value > INT32_MAX ||
        out->rank == EC_MAX_RANK) {
      return false;
    }
    out->shape[out->rank++] = (int64_t)value;
    if (*end == '\0') {
      return true;
    }
    if (*end != 'x') {
      return false;
    }
    text = end + 1;
  }
}

static void take_shape(cursor *from, arguments *out) {
  const char *text = take_value(from);
  const char *equals = strrchr(text, '=');
  shape_argument *shape = &out->shapes[out->shape_count++];
  if (equals == NULL || equals == text || !read_shape(equals + 1, shape)) {
    fail(EXIT_CODE_USAGE, "--shape: '%s' is not NAME=1x7", text);
  }
  shape->name = text;
  shape->name_bytes = (size_t)(equals - text);
}

static uint32_t take_plan(cursor *from) {
  static const char *const names[] = {
      [EC_PLAN_ANY] = "auto", [EC_PLAN_DEVICE] = "device", [EC_PLAN_CPU] = "cpu"};
  const char *text = take_value(from);
  for (uint32_t i = 0; i < sizeof names / sizeof names[0]; ++i) {
    if (strcmp(text, names[i]) == 0) {
      return i;
    }
  }
  fail(EXIT_CODE_USAGE, "--plan: '%s' is not auto, device or cpu", text);
}

static bool read_flags(const cursor *from, arguments *out) {
  const struct {
    const char *name;
    bool *flag;
  } flags[] = {
      {"--random-inputs", &out->random_inputs},
      {"--skip-hash", &out->skip_hash},
      {"--profile", &out->profile},
      {"--json", &out->json},
      {"--info", &out->info},
      {"--serve", &out->serve},
  };
  for (size_t i = 0; i < sizeof flags / sizeof flags[0]; ++i) {
    if (take_flag(from, flags[i].name)) {
      *flags[i].flag = true;
      return true;
    }
  }
  return false;
}

static bool read_values(cursor *from, arguments *out) {
  if (is_option(from, "--weights")) {
    out->weights_path = take_value(from);
  } else if (is_option(from, "--input")) {
    take_input(from, out);
  } else if (is_option(from, "--shape")) {
    take_shape(from, out);
  } else if (is_option(from, "--output-dir")) {
    out->output_folder = take_value(from);
  } else if (is_option(from, "--device")) {
    out->device_name = take_value(from);
  } else if (is_option(from, "--device-cache")) {
    out->device_cache = take_value(from);
  } else if (is_option(from, "--plan")) {
    out->plan = take_plan(from);
  } else if (is_option(from, "--threads")) {
    out->threads = take_count(from);
  } else if (is_option(from, "--warmup-runs")) {
    out->warmup_runs = take_count(from);
  } else if (is_option(from, "--num-runs")) {
    out->timed_runs = take_count(from);
  } else if (is_option(from, "--max-secs")) {
    out->longest_seconds = take_seconds(from);
  } else {
    return false;
  }
  return true;
}

arguments arguments_parse(int argc, char **argv) {
  arguments parsed = {.program = argc > 0 ? argv[0] : "", .threads = 1};
  parsed.inputs = calloc((size_t)argc + 1, sizeof parsed.inputs[0]); /* more than enough */
  parsed.shapes = calloc((size_t)argc + 1, sizeof parsed.shapes[0]);
  if (parsed.inputs == NULL || parsed.shapes == NULL) {
    fail(EXIT_CODE_DEVICE, "out of memory");
  }
  cursor from = {.argc = argc, .argv = argv};
  for (from.at = 1; from.at < argc; ++from.at) {
    read_option(&from);
    if (is_option(&from, "--help") || is_option(&from, "-h")) {
      (void)fputs(help, stdout);
      exit(EXIT_CODE_OK);
    }
    if (!read_flags(&from, &parsed) && !read_values(&from, &parsed)) {
      fail(EXIT_CODE_USAGE, "unknown argument '%s'; see --help", from.name);
    }
  }
  return parsed;
}
