/* What the runner prints. */
#ifndef EDGECOMP_TOOLS_REPORT_H
#define EDGECOMP_TOOLS_REPORT_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "series.h"

typedef struct report {
  const ec_model *model; /* the plan that runs */
  const ec_session *session;
  uint32_t threads;
  uint64_t load_ns;      /* ec_session_open */
  uint64_t first_run_ns; /* the first run of the process */
  const series *times;
  const ec_call_profile *profiles; /* one per call; NULL: not profiled */
} report;

/* One JSON document. */
void report_json(const report *from);

/* For people. */
void report_text(const report *from);

/* The member `profile` of an open JSON object. */
void report_profile_json(const ec_model *model, const ec_call_profile *profiles);

/* What --info prints. `session_bytes` is the memory of a session with the asked threads. */
void info_json(const ec_model *model, uint64_t session_bytes);
void info_text(const ec_model *model, uint64_t session_bytes);

#endif /* EDGECOMP_TOOLS_REPORT_H */
