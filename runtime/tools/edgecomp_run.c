/* edgecomp_run: run one model on a device, from files to files, and time it.
 *
 * Linked with the runtime and the model's own source. EC_MODEL_FUNCTION names the function
 * that gives the descriptor.
 */
#define _GNU_SOURCE /* getline under -std=c11 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arguments.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "failure.h"
#include "files.h"
#include "inputs.h"
#include "json.h"
#include "measure.h"
#include "report.h"
#include "series.h"

#ifndef EC_MODEL_FUNCTION
#define EC_MODEL_FUNCTION ec_model_default
#endif
const ec_model *EC_MODEL_FUNCTION(void);

/* Everything that one process works with. */
typedef struct runner {
  const ec_model *model;
  ec_session *session;
  input_set inputs;
  series times;
  ec_call_profile *profiles; /* one per call */
} runner;

static void *allocate_zeroed(size_t count, size_t bytes) {
  void *memory = calloc(count + 1, bytes);
  if (memory == NULL) {
    fail(EXIT_CODE_DEVICE, "out of memory");
  }
  return memory;
}

/* Path of the weights' file beside the program, from malloc; NULL when the model embeds them.
 */
static char *default_weights_path(const ec_model *model, const char *program) {
  if (model->embedded_weights != NULL || model->weights_file == NULL) {
    return NULL;
  }
  const char *slash = strrchr(program, '/');
  size_t folder_bytes = slash != NULL ? (size_t)(slash - program) + 1 : 0;
  size_t bytes = folder_bytes + strlen(model->weights_file) + 1;
  char *path = allocate_zeroed(bytes, 1);
  (void)snprintf(path, bytes, "%.*s%s", (int)folder_bytes, program, model->weights_file);
  return path;
}

static ec_open_options options_from(const arguments *from, const char *weights_path) {
  ec_open_options options = ec_open_options_default();
  options.weights_path = weights_path;
  options.threads = from->threads;
  options.device_name = from->device_name;
  options.device_cache = from->device_cache;
  options.skip_hash = from->skip_hash ? 1 : 0;
  options.plan = from->plan;
  return options;
}

static void print_info(const ec_model *model, const arguments *from) {
  ec_open_options options = options_from(from, NULL);
  uint64_t session_bytes = 0;
  require_ok(ec_session_memory(model, &options, &session_bytes));
  if (from->json) {
    info_json(model, session_bytes);
  } else {
    info_text(model, session_bytes);
  }
}

/* Say on standard error why the CPU plan runs in the place of the device's. */
static void note_device_failure(const ec_session *session) {
  const char *message = NULL;
  ec_status failure = ec_session_device_failure(session, &message);
  if (failure != EC_OK) {
    (void)fprintf(stderr, "edgecomp_run: the CPU plan runs: %s: %s\n", ec_status_name(failure),
                  message);
  }
}

/* Open the session; returns the time that took. */
static uint64_t open_session(runner *with, const arguments *from) {
  char *beside =
      from->weights_path == NULL ? default_weights_path(with->model, from->program) : NULL;
  ec_open_options options =
      options_from(from, from->weights_path != NULL ? from->weights_path : beside);
  uint64_t start_ns = wall_ns();
  require_ok(ec_session_open(with->model, &options, &with->session));
  uint64_t load_ns = wall_ns() - start_ns;
  note_device_failure(with->session);
  with->model = ec_session_model(with->session);
  free(beside);
  return load_ns;
}

/* The outputs' files; two outputs must not want the same one. */
static void check_output_paths(const ec_model *model, const char *folder) {
  for (uint32_t i = 0; i < model->output_count; ++i) {
    for (uint32_t j = 0; j < i; ++j) {
      char *first = output_path(folder, model->outputs[j].name);
      char *second = output_path(folder, model->outputs[i].name);
      if (strcmp(first, second) == 0) {
        fail(EXIT_CODE_USAGE, "outputs '%s' and '%s' would both be written to '%s'",
             model->outputs[j].name, model->outputs[i].name, first);
      }
      free(first);
      free(second);
    }
  }
}

/* The shape of an output beside its file: NAME.shape in the place of NAME.bin. */
static void write_shape(const runner *from, uint32_t index, char *path) {
  int64_t shape[EC_MAX_RANK];
  uint32_t rank = 0;
  require_ok(ec_session_output_shape(from->session, index, shape, &rank));
  char text[EC_MAX_RANK * 24] = "scalar";
  size_t length = rank == 0 ? strlen(text) : 0;
  for (uint32_t d = 0; d < rank; ++d) {
    length += (size_t)snprintf(text + length, sizeof text - length, "%s%" PRId64,
                               d == 0 ? "" : "x", shape[d]);
  }
  size_t stem = strlen(path) - strlen(".bin");
  char *beside = allocate_zeroed(strlen(path) + sizeof ".shape", 1);
  (void)snprintf(beside, strlen(path) + sizeof ".shape", "%.*s.shape", (int)stem, path);
  file_write(beside, text, length);
  free(beside);
}

static void write_outputs(const runner *from, const char *folder) {
  for (uint32_t i = 0; i < from->model->output_count; ++i) {
    const void *data = NULL;
    uint64_t bytes = 0;
    require_ok(ec_session_output_data(from->session, i, &data, &bytes));
    char *path = output_path(folder, from->model->outputs[i].name);
    file_write(path, data, bytes);
    if (from->model->dynamic != NULL) {
      write_shape(from, i, path);
    }
    free(path);
  }
}

/* Profiled runs are apart from the timed ones, so that reading clocks does not slow those. */
static void run_profiled(runner *with, uint64_t runs) {
  for (uint64_t i = 0; i < runs; ++i) {
    inputs_set(&with->inputs, with->session);
    require_ok(
        ec_session_run_profiled(with->session, with->profiles, with->model->call_count));
  }
}

static void answer_error(const char *line) {
  json_open(NULL, '{');
  json_text("error", "commands: run SECONDS MINIMUM_RUNS, profile RUNS");
  json_text("line", line);
  json_close('}');
  json_end();
}

static void answer_run(runner *with, double seconds, uint64_t minimum_runs) {
  series_clear(&with->times);
  series_run_many(&with->times, seconds, minimum_runs, UINT64_MAX, &with->inputs,
                  with->session);
  json_open(NULL, '{');
  json_unsigned_array("run_ns", with->times.wall_ns, with->times.count);
  json_unsigned_array("cpu_ns", with->times.cpu_ns, with->times.count);
  json_unsigned("peak_rss_bytes", peak_resident_bytes());
  json_close('}');
  json_end();
}

static void answer_profile(runner *with, uint64_t runs) {
  memset(with->profiles, 0, with->model->call_count * sizeof with->profiles[0]);
  run_profiled(with, runs);
  json_open(NULL, '{');
  report_profile_json(with->model, with->profiles);
  json_close('}');
  json_end();
}

static void answer(runner *with, const char *line) {
  double seconds = 0;
  uint32_t runs = 0;
  char more = '\0';
  if (sscanf(line, "run %lf %" SCNu32 " %c", &seconds, &runs, &more) == 2 && seconds >= 0 &&
      seconds < 1e6 && (seconds > 0 || runs > 0)) {
    answer_run(with, seconds > 0 ? seconds : 1e-9, runs);
  } else if (sscanf(line, "profile %" SCNu32 " %c", &runs, &more) == 1 && runs > 0) {
    answer_profile(with, runs);
  } else {
    answer_error(line);
  }
}

static void serve(runner *with) {
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) >= 0) {
    line[strcspn(line, "\r\n")] = '\0';
    answer(with, line);
  }
  free(line);
}

/* The first run, the warm-up, the timed and the profiled runs, and what they took. */
static void measure(runner *with, const arguments *from, uint64_t load_ns) {
  series_run(&with->times, &with->inputs, with->session);
  uint64_t first_run_ns = with->times.wall_ns[0];
  if (from->output_folder != NULL) {
    write_outputs(with, from->output_folder);
  }
  series_run_many(NULL, 0, from->warmup_runs, from->warmup_runs, &with->inputs, with->session);
  series_clear(&with->times);
  series_run_many(&with->times, from->longest_seconds, 1, from->timed_runs, &with->inputs,
                  with->session);
  if (from->profile) {
    run_profiled(with, with->times.count != 0 ? with->times.count : 1);
  }
  report result = {.model = with->model,
                   .session = with->session,
                   .threads = from->threads,
                   .load_ns = load_ns,
                   .first_run_ns = first_run_ns,
                   .times = &with->times,
                   .profiles = from->profile ? with->profiles : NULL};
  if (from->json || from->serve) {
    report_json(&result);
  } else {
    report_text(&result);
  }
}

int main(int argc, char **argv) {
  arguments from = arguments_parse(argc, argv);
  runner with = {.model = EC_MODEL_FUNCTION()};
  if (from.info) {
    print_info(with.model, &from);
    free(from.inputs);
    free(from.shapes);
    return EXIT_CODE_OK;
  }
  uint64_t load_ns = open_session(&with, &from); /* from here on the descriptor is trusted */
  if (from.output_folder != NULL) {
    check_output_paths(with.model, from.output_folder);
    folder_make(from.output_folder);
  }
  with.inputs = inputs_load(with.session, &from);
  with.profiles = allocate_zeroed(with.model->call_count, sizeof with.profiles[0]);
  measure(&with, &from, load_ns);
  if (from.serve) {
    serve(&with);
  }
  ec_session_close(with.session);
  inputs_free(&with.inputs, with.model);
  series_free(&with.times);
  free(with.profiles);
  free(from.inputs);
  free(from.shapes);
  return fflush(stdout) == 0 ? EXIT_CODE_OK : EXIT_CODE_USAGE;
}
