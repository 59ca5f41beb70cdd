#include "core/cpu_plan_check.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/message.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

static bool are_same_ports(const ec_port *a, const ec_port *b, uint32_t count) {
  bool is_same = true;
  for (uint32_t i = 0; is_same && i < count; ++i) {
    is_same = strcmp(a[i].name, b[i].name) == 0 && a[i].dtype == b[i].dtype &&
              a[i].rank == b[i].rank &&
              memcmp(a[i].shape, b[i].shape, a[i].rank * sizeof a[i].shape[0]) == 0;
  }
  return is_same;
}

static bool is_same_interface(const ec_model *a, const ec_model *b) {
  return a->input_count == b->input_count && a->output_count == b->output_count &&
         are_same_ports(a->inputs, b->inputs, a->input_count) &&
         are_same_ports(a->outputs, b->outputs, a->output_count) &&
         (a->dynamic == NULL) == (b->dynamic == NULL);
}

bool ec_is_cpu_alone(const ec_model *model) {
  bool is_alone = true;
  for (uint32_t i = 0; is_alone && i < model->call_count; ++i) {
    is_alone = model->calls[i].device == EC_DEVICE_CPU;
  }
  return is_alone;
}

ec_status ec_cpu_plan_check(const ec_model *model) {
  const ec_model *plan = model->cpu_plan;
  const char *what = NULL;
  if (plan->cpu_plan != NULL || !ec_is_cpu_alone(plan)) {
    what = "calls for devices";
  } else if (!is_same_interface(model, plan)) {
    what = "other ports";
  } else if (plan->weights_bytes != model->weights_bytes ||
             plan->weights_hash != model->weights_hash ||
             plan->embedded_weights != model->embedded_weights) {
    what = "other weights";
  }
  if (what != NULL) {
    return EC_FAIL(EC_ERROR_DESCRIPTOR, "CPU plan of '%s': %s", model->name, what);
  }
  return EC_OK;
}
