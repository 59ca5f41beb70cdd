#include "exec/run.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "core/message.h"
#include "core/strips.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"
#include "exec/device.h"
#include "exec/sizes.h"

/* A run on its way. */
typedef struct run_state {
  const ec_run *run;
  uint32_t call_count;       /* calls from here on do not run */
  uint32_t next_count;       /* of the model's counts, the first that was not read yet */
  const ec_device *active;   /* has launched calls that may not be finished, or NULL */
  ec_call_profile *profiles; /* NULL: not measured */
} run_state;

static ec_status finish_active(run_state *state) {
  const ec_device *active = state->active;
  state->active = NULL;
  return active != NULL ? active->backend->sync(active->state) : EC_OK;
}

/* End of the group of strips that begins with a call, at most `end`; of a call that is in
 * none, the next call. */
static uint32_t group_end(const ec_model *model, uint32_t first, uint32_t end) {
  uint32_t next = first + 1;
  while (next < end && ec_strips_go_on(model, next)) {
    ++next;
  }
  return next;
}

/* End of the calls of one device that begin with a call, at most `end`. Behind a call that
 * counts the sizes are not known yet. */
static uint32_t run_end(const run_state *state, uint32_t first, uint32_t end) {
  const ec_model *model = state->run->model;
  const ec_dynamic *dynamic = model->dynamic;
  if (dynamic != NULL && state->next_count < dynamic->count_count &&
      dynamic->counts[state->next_count].call < end) {
    end = dynamic->counts[state->next_count].call + 1;
  }
  uint32_t next = first + 1;
  while (next < end && model->calls[next].device == model->calls[first].device) {
    ++next;
  }
  return next;
}

/* Launch a call, or the group of strips that begins with it; sets `call` to the one behind. At
 * most the calls before `end`. */
static ec_status launch(run_state *state, uint32_t *call, uint32_t end) {
  uint32_t first = *call;
  const ec_device *device = &state->run->devices[state->run->model->calls[first].device];
  if (state->active != NULL && state->active != device) { /* devices meet in the arena */
    ec_status status = finish_active(state);
    if (status != EC_OK) {
      return status;
    }
  }
  state->active = device;
  if (device->backend->launch_run != NULL) {
    *call = run_end(state, first, end);
    return device->backend->launch_run(device->state, first, *call);
  }
  *call = first + 1;
  if (device->backend->launch_strips != NULL) {
    *call = group_end(state->run->model, first, end);
  }
  return *call == first + 1 ? device->backend->launch(device->state, first)
                            : device->backend->launch_strips(device->state, first, *call);
}

static void add_time(ec_call_profile *profile, uint64_t spent_ns) {
  if (profile->runs == 0 || spent_ns < profile->minimum_ns) {
    profile->minimum_ns = spent_ns;
  }
  profile->runs += 1;
  profile->total_ns += spent_ns;
}

static ec_status measure(run_state *state, uint32_t *next_call) {
  uint32_t call = (*next_call)++;
  const ec_device *device = &state->run->devices[state->run->model->calls[call].device];
  uint64_t spent_ns = 0;
  ec_status status = device->backend->profile(device->state, call, &spent_ns);
  if (status == EC_OK) {
    add_time(&state->profiles[call], spent_ns);
  }
  return status;
}

static const uint8_t *tensor_data(const ec_run *run, uint32_t index) {
  const ec_tensor *tensor = &run->model->tensors[index];
  const uint8_t *storage = tensor->storage == EC_STORAGE_WEIGHTS ? run->weights : run->arena;
  return storage + (size_t)tensor->offset_bytes;
}

/* A loop without a condition goes on. */
static bool is_true(const ec_run *run, uint32_t condition) {
  return condition == EC_NO_TENSOR || *tensor_data(run, condition) != 0;
}

static int64_t read_limit(const ec_run *run, uint32_t limit) {
  int64_t rounds = INT64_MAX;
  if (limit != EC_NO_TENSOR) {
    memcpy(&rounds, tensor_data(run, limit), sizeof rounds);
  }
  return rounds;
}

static void write_counter(const ec_run *run, uint32_t counter, int64_t round) {
  if (counter != EC_NO_TENSOR) {
    memcpy(run->arena + (size_t)run->model->tensors[counter].offset_bytes, &round,
           sizeof round);
  }
}

/* Take what a call that is finished has counted as the symbol's value. */
static ec_status take_count(const ec_run *run, const ec_count *count) {
  const ec_symbol *symbol = &run->model->dynamic->symbols[count->symbol];
  int64_t found = 0;
  memcpy(&found, tensor_data(run, count->tensor), sizeof found);
  if (found < symbol->minimum || found > symbol->maximum) {
    return EC_FAIL(EC_ERROR_COUNT,
                   "%s makes dimension '%s' %" PRId64 ", the model is built for %" PRId64
                   " to %" PRId64,
                   run->model->calls[count->call].nodes, symbol->name, found, symbol->minimum,
                   symbol->maximum);
  }
  run->sizes->symbols[count->symbol] = found;
  return EC_OK;
}

/* Read the counts of calls before `end` that were not read yet. */
static ec_status take_counts(run_state *state, uint32_t end) {
  const ec_dynamic *dynamic = state->run->model->dynamic;
  if (dynamic == NULL || state->next_count == dynamic->count_count ||
      dynamic->counts[state->next_count].call >= end) {
    return EC_OK;
  }
  ec_status status = finish_active(state);
  while (status == EC_OK && state->next_count < dynamic->count_count &&
         dynamic->counts[state->next_count].call < end) {
    status = take_count(state->run, &dynamic->counts[state->next_count]);
    state->next_count += 1;
  }
  if (status == EC_OK) {
    ec_sizes_update(state->run->sizes);
  }
  return status;
}

static ec_status run_range(run_state *state, uint32_t call, uint32_t end, uint32_t region);

static ec_status run_branch(run_state *state, uint32_t index) {
  const ec_region *region = &state->run->model->regions[index];
  ec_status status = finish_active(state);
  if (status != EC_OK) {
    return status;
  }
  if (is_true(state->run, region->condition) == (region->expected != 0)) {
    return run_range(state, region->first_call, region->end_call, index + 1);
  }
  if (region->kind == EC_REGION_REQUIRED) {
    return EC_FAIL(EC_ERROR_BRANCH,
                   "the inputs choose the other branch at %s, which does not fit the shapes "
                   "that the model was built with",
                   state->run->model->calls[region->first_call].nodes);
  }
  return EC_OK;
}

static ec_status run_loop(run_state *state, uint32_t index) {
  const ec_run *run = state->run;
  const ec_region *region = &run->model->regions[index];
  ec_status status = finish_active(state);
  if (status != EC_OK) {
    return status;
  }
  int64_t limit = read_limit(run, region->limit);
  for (int64_t round = 0; round < limit && is_true(run, region->condition); ++round) {
    if ((uint64_t)round >= region->most_rounds) {
      return EC_FAIL(EC_ERROR_ROUNDS,
                     "the inputs ask the loop of %s for more than %" PRIu64 " rounds",
                     run->model->calls[region->first_call].nodes, region->most_rounds);
    }
    write_counter(run, region->counter, round);
    status = run_range(state, region->first_call, region->end_call, index + 1);
    if (status == EC_OK) {
      status = finish_active(state);
    }
    if (status != EC_OK || region->end_call > state->call_count) {
      break;
    }
  }
  return status;
}

/* Run calls [call, end); `region` is the first region that begins at `call` or later and is
 * not one that contains all of them. Depth is bounded by EC_MAX_REGION_DEPTH. */
static ec_status run_range(run_state *state, uint32_t call, uint32_t end, uint32_t region) {
  const ec_model *model = state->run->model;
  ec_status status = EC_OK;
  if (end > state->call_count) {
    end = state->call_count;
  }
  while (status == EC_OK && call < end) {
    const ec_region *next = region < model->region_count ? &model->regions[region] : NULL;
    if (next == NULL || next->first_call != call) {
      uint32_t until = next != NULL && next->first_call < end ? next->first_call : end;
      status = state->profiles != NULL ? measure(state, &call) : launch(state, &call, until);
      if (status == EC_OK) {
        status = take_counts(state, call);
      }
      continue;
    }
    status =
        next->kind == EC_REGION_LOOP ? run_loop(state, region) : run_branch(state, region);
    call = next->end_call;
    while (region < model->region_count && model->regions[region].first_call < call) {
      ++region; /* those inside */
    }
  }
  return status;
}

static ec_status run_all(run_state *state) {
  ec_status status = run_range(state, 0, state->call_count, 0);
  /* Also after a failure, so that nothing is left running; the first failure is the result. */
  ec_status finished = finish_active(state);
  return status != EC_OK ? status : finished;
}

ec_status ec_run_calls(const ec_run *run, uint32_t call_count) {
  run_state state = {run, call_count, 0, NULL, NULL};
  return run_all(&state);
}

ec_status ec_run_profiled(const ec_run *run, ec_call_profile *profiles) {
  run_state state = {run, run->model->call_count, 0, NULL, profiles};
  return run_all(&state);
}
