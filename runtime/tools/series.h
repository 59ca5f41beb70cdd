/* Timed runs. */
#ifndef EDGECOMP_TOOLS_SERIES_H
#define EDGECOMP_TOOLS_SERIES_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "inputs.h"

/* Times of runs, in nanoseconds. A run is: copy the inputs in, compute; outputs are read in
 * place. */
typedef struct series {
  uint64_t *wall_ns;
  uint64_t *cpu_ns; /* of the whole process */
  uint64_t count;
  uint64_t capacity;
} series;

/* Run once and add its times, `times` may be NULL; ends the process when the run fails. */
void series_run(series *times, const input_set *inputs, ec_session *session);

/* Run until `seconds` have passed (0: do not look at the clock) and at least `minimum_runs`
 * are done, but not more than `maximum_runs`. */
void series_run_many(series *times, double seconds, uint64_t minimum_runs,
                     uint64_t maximum_runs, const input_set *inputs, ec_session *session);

/* Forget the runs, keep the memory. */
void series_clear(series *times);

void series_free(series *times);

#endif /* EDGECOMP_TOOLS_SERIES_H */
