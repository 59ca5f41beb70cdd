#include "report.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "failure.h"
#include "json.h"
#include "measure.h"
#include "series.h"

void report_profile_json(const ec_model *model, const ec_call_profile *profiles) {
  json_open("profile", '[');
  for (uint32_t i = 0; i < model->call_count; ++i) {
    const ec_call *call = &model->calls[i];
    json_open(NULL, '{');
    json_text("operator", call->operator_name);
    json_text("schedule", call->schedule);
    json_text("nodes", call->nodes);
    json_text("source", call->source);
    json_unsigned("runs", profiles[i].runs);
    json_unsigned("total_ns", profiles[i].total_ns);
    json_unsigned("minimum_ns", profiles[i].minimum_ns);
    json_unsigned("multiply_adds", call->multiply_adds);
    json_close('}');
  }
  json_close(']');
}

static const char *plan_name(const ec_model *model) {
  for (uint32_t i = 0; i < model->call_count; ++i) {
    if (model->calls[i].device != EC_DEVICE_CPU) {
      return "device";
    }
  }
  return "cpu";
}

/* Which plan runs, and why where it is not the model's own. */
static void plan_json(const report *from) {
  const char *message = NULL;
  ec_status failure = ec_session_device_failure(from->session, &message);
  json_text("plan", plan_name(from->model));
  if (failure != EC_OK) {
    json_text("device_failure", ec_status_name(failure));
    json_text("device_message", message);
  }
}

void report_json(const report *from) {
  json_open(NULL, '{');
  json_text("model", from->model->name);
  json_text("target", from->model->target);
  plan_json(from);
  json_unsigned("threads", from->threads);
  json_unsigned("load_ns", from->load_ns);
  json_unsigned("first_run_ns", from->first_run_ns);
  json_unsigned_array("run_ns", from->times->wall_ns, from->times->count);
  json_unsigned_array("cpu_ns", from->times->cpu_ns, from->times->count);
  json_unsigned("peak_rss_bytes", peak_resident_bytes());
  if (from->profiles != NULL) {
    report_profile_json(from->model, from->profiles);
  }
  json_close('}');
  json_end();
}

static double milliseconds(uint64_t nanoseconds) { return (double)nanoseconds / 1e6; }

static int compare_times(const void *a, const void *b) {
  uint64_t first = *(const uint64_t *)a;
  uint64_t second = *(const uint64_t *)b;
  return (first > second) - (first < second);
}

/* Percentiles of the runs, the nearest run each. */
static void print_times(const series *times) {
  size_t count = (size_t)times->count;
  uint64_t *sorted = malloc(count * sizeof sorted[0]);
  if (sorted == NULL) {
    fail(EXIT_CODE_DEVICE, "out of memory");
  }
  memcpy(sorted, times->wall_ns, count * sizeof sorted[0]);
  qsort(sorted, count, sizeof sorted[0], compare_times);
  (void)printf("%zu runs: minimum %.3f ms, p50 %.3f ms, p90 %.3f ms, p99 %.3f ms\n", count,
               milliseconds(sorted[0]), milliseconds(sorted[(count - 1) * 50 / 100]),
               milliseconds(sorted[(count - 1) * 90 / 100]),
               milliseconds(sorted[(count - 1) * 99 / 100]));
  free(sorted);
}

static void print_profile(const ec_model *model, const ec_call_profile *profiles) {
  uint64_t total = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    total += profiles[i].total_ns;
  }
  (void)printf("%10s %6s %-24s %-24s %s\n", "ms", "%", "operator", "schedule", "from");
  for (uint32_t i = 0; i < model->call_count; ++i) {
    const ec_call *call = &model->calls[i];
    uint64_t spent = profiles[i].total_ns;
    double share = total == 0 ? 0.0 : 100.0 * (double)spent / (double)total;
    (void)printf("%10.4f %6.2f %-24s %-24s %s\n",
                 profiles[i].runs == 0 ? 0.0 : milliseconds(spent) / (double)profiles[i].runs,
                 share, call->operator_name, call->schedule,
                 call->source[0] != '\0' ? call->source : call->nodes);
  }
}

void report_text(const report *from) {
  (void)printf("%s for %s, plan: %s, threads: %" PRIu32 "\n", from->model->name,
               from->model->target, plan_name(from->model), from->threads);
  (void)printf("load %.3f ms, first run %.3f ms, peak memory %.1f MiB\n",
               milliseconds(from->load_ns), milliseconds(from->first_run_ns),
               (double)peak_resident_bytes() / (1024.0 * 1024.0));
  if (from->times->count != 0) {
    print_times(from->times);
  }
  if (from->profiles != NULL) {
    print_profile(from->model, from->profiles);
  }
}
