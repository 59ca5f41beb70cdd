#include "device/cuda/cuda_graphs.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "device/cuda/cu.h"
#include "device/cuda/cu_status.h"
#include "device/cuda/cuda_calls.h"
#include "device/cuda/cuda_driver.h"
#include "device/cuda/cuda_state.h"
#include "edgecomp/edgecomp.h"
#include "edgecomp/model.h"

/* Sizes that a part had. */
typedef struct recording {
  uint64_t last_use; /* 0: there are none yet */
  int64_t *values;   /* of the symbols; 0 of those that the part does not depend on */
  cu_graph_run run;  /* NULL where they came once, or the graph went to others */
} recording;

typedef struct ec_cu_part {
  uint32_t first;
  uint32_t end;
  uint32_t graph_count;
  uint32_t most_graphs; /* becomes less where the device has no memory for more */
  uint32_t recording_count;
  bool is_fixed;  /* depends on no symbol */
  int64_t *masks; /* of the symbols: all ones where the part depends on it, else 0 */
  recording recordings[];
} ec_cu_part;

/* Whether calls end here that follow each other: at regions, and where a count is read. */
static bool is_border(const ec_model *model, uint32_t call) {
  const ec_dynamic *dynamic = model->dynamic;
  for (uint32_t i = 0; i < model->region_count; ++i) {
    if (model->regions[i].first_call == call || model->regions[i].end_call == call) {
      return true;
    }
  }
  for (uint32_t i = 0; dynamic != NULL && i < dynamic->count_count; ++i) {
    if (dynamic->counts[i].call + 1 == call) {
      return true;
    }
  }
  return false;
}

/* End of the calls that follow each other from one on, all the device's. */
static uint32_t part_end(const ec_model *model, uint32_t first) {
  uint32_t end = first + 1;
  while (end < model->call_count && model->calls[end].device == EC_DEVICE_CUDA &&
         !is_border(model, end)) {
    ++end;
  }
  return end;
}

static uint32_t symbols_of(const ec_model *model) {
  return model->dynamic != NULL ? model->dynamic->symbol_count : 0;
}

/* A part of fixed sizes needs one. */
static uint32_t recordings_of(const ec_model *model) {
  return model->dynamic != NULL ? EC_CU_MOST_SIZES : 1;
}

/* In words of 8 bytes: a part and its recordings, without the symbols' values. */
static uint32_t part_words(const ec_model *model) {
  size_t bytes = sizeof(ec_cu_part) + recordings_of(model) * sizeof(recording);
  return (uint32_t)((bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t));
}

uint64_t ec_cu_graphs_bytes(const ec_model *model) {
  uint64_t parts = 0;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    if (model->calls[i].device == EC_DEVICE_CUDA) {
      parts += 1;
      i = part_end(model, i) - 1;
    }
  }
  uint64_t words = (uint64_t)symbols_of(model) * (recordings_of(model) + 1);
  bool fits = ec_multiply(parts, words + part_words(model), &words) &&
              ec_add(words, model->call_count, &words) &&
              ec_multiply(words, sizeof(uint64_t), &words);
  return fits ? words : UINT64_MAX;
}

static void mark(const ec_extent *extents, uint32_t count, int64_t *masks) {
  for (uint32_t i = 0; i < count; ++i) {
    for (uint32_t k = 0; k < extents[i].term_count; ++k) {
      const ec_term *term = &extents[i].terms[k];
      for (uint32_t s = 0; s < term->symbol_count; ++s) {
        masks[term->symbols[s]] = -1;
      }
    }
  }
}

/* Which symbols a part's calls depend on. */
static void find_symbols(const ec_model *model, ec_cu_part *part) {
  for (uint32_t i = part->first; model->dynamic != NULL && i < part->end; ++i) {
    const ec_dynamic_call *call = &model->dynamic->calls[i];
    const bool is_kernel = model->calls[i].launch->kind == EC_LAUNCH_KERNEL;
    mark(call->sizes, call->size_count, part->masks);
    if (call->items != NULL) {
      mark(call->items, is_kernel ? 3 : 1, part->masks);
    }
  }
  part->is_fixed = true;
  for (uint32_t i = 0; i < symbols_of(model); ++i) {
    part->is_fixed = part->is_fixed && part->masks[i] == 0;
  }
}

static ec_cu_part *place_part(const ec_model *model, uint32_t first, uint64_t **next) {
  const uint32_t symbols = symbols_of(model);
  void *memory = *next;
  ec_cu_part *part = memory;
  *next += part_words(model);
  part->first = first;
  part->end = part_end(model, first);
  part->recording_count = recordings_of(model);
  part->masks = (int64_t *)*next;
  *next += symbols;
  for (uint32_t i = 0; i < part->recording_count; ++i) {
    part->recordings[i].values = (int64_t *)*next;
    *next += symbols;
  }
  find_symbols(model, part);
  /* A graph of one call saves nothing. */
  part->most_graphs = part->is_fixed ? 1 : part->end > first + 1 ? EC_CU_MOST_GRAPHS : 0;
  return part;
}

void ec_cu_graphs_place(ec_cu_state *state, uint64_t *memory) {
  const ec_model *model = state->session.model;
  void *parts = memory; /* a word has room for a pointer of any type */
  uint64_t *next = memory + model->call_count;
  state->parts = parts;
  for (uint32_t i = 0; i < model->call_count; ++i) {
    if (model->calls[i].device == EC_DEVICE_CUDA) {
      state->parts[i] = place_part(model, i, &next);
      i = state->parts[i]->end - 1;
    }
  }
}

static void destroy(const ec_cu_driver *driver, cu_graph_run *inout_run) {
  if (*inout_run != NULL) {
    (void)driver->GraphExecDestroy(*inout_run);
  }
  *inout_run = NULL;
}

/* A part's calls as they are now. */
static ec_status capture(const ec_cu_state *state, const ec_cu_part *part,
                         cu_graph *out_graph) {
  const ec_cu_driver *driver = &state->driver;
  const char *name = state->session.model->name;
  cu_result result = driver->StreamBeginCapture_v2(state->stream, CU_CAPTURE_RELAXED);
  if (result != CU_SUCCESS) {
    return ec_cu_status(driver, result, "record the calls of model", name);
  }
  cu_graph graph = NULL;
  ec_status status = EC_OK;
  for (uint32_t i = part->first; status == EC_OK && i < part->end; ++i) {
    status = ec_cu_enqueue(state, i);
  }
  result = driver->StreamEndCapture(state->stream, &graph); /* also after a failure */
  if (status == EC_OK) {
    status = ec_cu_status(driver, result, "record the calls of model", name);
  }
  if (status != EC_OK && graph != NULL) {
    (void)driver->GraphDestroy(graph);
    graph = NULL;
  }
  *out_graph = graph;
  return status;
}

/* Make a graph ready to run: by changing the one that is there, which is far quicker and takes
 * no memory, or as a new one. NULL after a failure. */
static cu_result make_ready(const ec_cu_state *state, cu_graph graph,
                            cu_graph_run *inout_run) {
  const ec_cu_driver *driver = &state->driver;
  cu_result result = CU_GRAPH_EXEC_UPDATE_FAILURE;
  if (*inout_run != NULL) {
    cu_graph_node node = NULL;
    unsigned reason = 0;
    result = driver->GraphExecUpdate(*inout_run, graph, &node, &reason);
  }
  if (result == CU_GRAPH_EXEC_UPDATE_FAILURE) {
    /* Its calls are others: some have nothing to do at one of the sizes. */
    cu_graph_run run = NULL;
    destroy(driver, inout_run);
    result = driver->GraphInstantiateWithFlags(&run, graph, 0);
    *inout_run = result == CU_SUCCESS ? run : NULL;
  }
  if (result == CU_SUCCESS) {
    result = driver->GraphUpload(*inout_run, state->stream);
  }
  if (result != CU_SUCCESS) {
    destroy(driver, inout_run);
  }
  return result;
}

/* The one that was used least recently of those with a graph, or of those without. */
static recording *least_recent(ec_cu_part *part, bool has_graph) {
  recording *found = NULL;
  for (uint32_t i = 0; i < part->recording_count; ++i) {
    recording *each = &part->recordings[i];
    if ((each->run != NULL) == has_graph &&
        (found == NULL || each->last_use < found->last_use)) {
      found = each;
    }
  }
  return found;
}

/* Record a part's calls with the sizes of now, in the place of the graph that was used least
 * recently where there are no more to be. */
static ec_status record(const ec_cu_state *state, ec_cu_part *part, recording *of) {
  cu_graph graph = NULL;
  ec_status status = capture(state, part, &graph);
  if (status != EC_OK) {
    return status;
  }
  if (part->graph_count == part->most_graphs) {
    recording *other = least_recent(part, true);
    of->run = other->run;
    other->run = NULL;
    part->graph_count -= 1;
  }
  cu_result result = make_ready(state, graph, &of->run);
  (void)state->driver.GraphDestroy(graph);
  part->graph_count += of->run != NULL ? 1 : 0;
  if (result == CU_OUT_OF_MEMORY && !part->is_fixed) {
    /* The calls need none to be started one by one. */
    part->most_graphs = part->graph_count;
    return EC_OK;
  }
  return ec_cu_status(&state->driver, result, "record the calls of model",
                      state->session.model->name);
}

ec_status ec_cu_graphs_prepare(ec_cu_state *state, uint32_t call) {
  uint32_t first = call;
  while (state->parts[first] == NULL) {
    --first;
  }
  ec_cu_part *part = state->parts[first];
  if (part->end != call + 1 || !part->is_fixed) {
    return EC_OK;
  }
  part->recordings[0].last_use = ++state->uses;
  return record(state, part, &part->recordings[0]);
}

static bool is_of(const ec_cu_state *state, const ec_cu_part *part, const recording *of) {
  bool is_same = of->last_use != 0;
  for (uint32_t i = 0; is_same && i < symbols_of(state->session.model); ++i) {
    is_same = (state->session.sizes->symbols[i] & part->masks[i]) == of->values[i];
  }
  return is_same;
}

static recording *find(const ec_cu_state *state, ec_cu_part *part) {
  for (uint32_t i = 0; i < part->recording_count; ++i) {
    if (is_of(state, part, &part->recordings[i])) {
      return &part->recordings[i];
    }
  }
  return NULL;
}

/* Sizes are new: those take their place that were used least recently and have no graph. */
static void remember(ec_cu_state *state, ec_cu_part *part) {
  recording *of = least_recent(part, false);
  of->last_use = ++state->uses;
  for (uint32_t i = 0; i < symbols_of(state->session.model); ++i) {
    of->values[i] = state->session.sizes->symbols[i] & part->masks[i];
  }
}

/* Whether sizes that came `before`, too, may have a graph. Another one goes where it was not
 * used since then: where more sizes take turns than there are graphs, these stay. */
static bool has_place(ec_cu_part *part, uint64_t before) {
  return part->graph_count < part->most_graphs || least_recent(part, true)->last_use < before;
}

ec_status ec_cu_graphs_find(ec_cu_state *state, uint32_t first, uint32_t end,
                            cu_graph_run *out_graph) {
  ec_cu_part *part = state->parts[first];
  *out_graph = NULL;
  if (part == NULL || part->end != end || part->most_graphs == 0) {
    return EC_OK;
  }
  recording *of = find(state, part);
  if (of == NULL) {
    remember(state, part);
    return EC_OK;
  }
  uint64_t before = of->last_use;
  of->last_use = ++state->uses;
  ec_status status =
      of->run == NULL && has_place(part, before) ? record(state, part, of) : EC_OK;
  *out_graph = of->run;
  return status;
}

void ec_cu_graphs_release(const ec_cu_state *state) {
  for (uint32_t i = 0; i < state->session.model->call_count; ++i) {
    ec_cu_part *part = state->parts[i];
    for (uint32_t k = 0; part != NULL && k < part->recording_count; ++k) {
      destroy(&state->driver, &part->recordings[k].run);
    }
  }
}
