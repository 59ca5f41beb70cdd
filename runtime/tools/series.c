#include "series.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "edgecomp/edgecomp.h"
#include "failure.h"
#include "inputs.h"
#include "measure.h"

static uint64_t *grown(uint64_t *values, uint64_t capacity) {
  uint64_t *larger = realloc(values, (size_t)capacity * sizeof values[0]);
  if (larger == NULL) {
    fail(EXIT_CODE_DEVICE, "out of memory");
  }
  return larger;
}

static void append(series *times, uint64_t wall, uint64_t cpu) {
  if (times->count == times->capacity) {
    times->capacity = times->capacity == 0 ? 1024 : 2 * times->capacity;
    times->wall_ns = grown(times->wall_ns, times->capacity);
    times->cpu_ns = grown(times->cpu_ns, times->capacity);
  }
  times->wall_ns[times->count] = wall;
  times->cpu_ns[times->count] = cpu;
  times->count += 1;
}

void series_run(series *times, const input_set *inputs, ec_session *session) {
  uint64_t cpu_start = cpu_ns();
  uint64_t wall_start = wall_ns();
  inputs_set(inputs, session);
  require_ok(ec_session_run(session));
  uint64_t wall = wall_ns() - wall_start;
  uint64_t cpu = cpu_ns() - cpu_start;
  if (times != NULL) {
    append(times, wall, cpu);
  }
}

void series_run_many(series *times, double seconds, uint64_t minimum_runs,
                     uint64_t maximum_runs, const input_set *inputs, ec_session *session) {
  uint64_t start_ns = wall_ns();
  uint64_t limit_ns = (uint64_t)(seconds * 1e9);
  for (uint64_t runs = 0; runs < maximum_runs; ++runs) {
    if (runs >= minimum_runs && limit_ns != 0 && wall_ns() - start_ns >= limit_ns) {
      break;
    }
    series_run(times, inputs, session);
  }
}

void series_clear(series *times) { times->count = 0; }

void series_free(series *times) {
  free(times->wall_ns);
  free(times->cpu_ns);
  *times = (series){0};
}
