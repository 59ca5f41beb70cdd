/* What is given to a stream, and graphs of it: it runs when the stream is waited for. */
#include <string.h>

#include "emulator.h"

enum { IN_CAPTURE = 900 };

struct CUevent_st {
  int recorded;
};

typedef enum kind { RUN, COPY } kind;
typedef struct step {
  struct step *next;
  kind kind;
  struct CUfunc_st *function;
  unsigned grid[3];
  unsigned block[3];
  uint64_t arguments[MOST_ARGUMENTS];
  void *to;
  const void *from;
  size_t bytes;
  cu_graph_run of; /* the graph whose step it is, in a stream */
} step;

/* Graphs stay as long as the process, so that no other one has their address. */
struct CUgraph_st {
  cu_context context;
  struct CUgraph_st *next;
  step *first;
  bool is_gone;
};
struct CUgraphExec_st {
  cu_context context;
  struct CUgraphExec_st *next;
  step *first;
  unsigned running; /* steps of it that are in a stream */
  bool is_gone;
};
struct CUstream_st {
  cu_context context;
  step *first;
  step *captured;
  bool is_capturing;
};
static cu_graph graphs;
static cu_graph_run graph_runs;
static unsigned capturing; /* streams that are */

static void append(step **list, const step *what) {
  while (*list != NULL) {
    list = &(*list)->next;
  }
  *list = malloc(sizeof **list);
  CHECK(*list != NULL);
  **list = *what;
  (*list)->next = NULL;
}

static void drop(step **list) {
  while (*list != NULL) {
    step *first = *list;
    *list = first->next;
    free(first);
  }
}

/* Forget what a stream was given. */
static void drop_given(cu_stream stream) {
  for (step *at = stream->first; at != NULL; at = at->next) {
    if (at->of != NULL) {
      at->of->running -= 1;
    }
  }
  drop(&stream->first);
}

static void check_stream(cu_stream stream) {
  CHECK(stream != NULL && stream->context == current_context());
}

static void give(cu_stream stream, const step *what) {
  check_stream(stream);
  if (stream->is_capturing) {
    append(&stream->captured, what);
  } else {
    seen.alone += 1;
    append(&stream->first, what);
  }
}

static cu_result copy_later(cu_stream stream, void *to, const void *from, size_t bytes) {
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    give(stream, &(step){.kind = COPY, .to = to, .from = from, .bytes = bytes});
  }
  return result;
}

EXPORT cu_result cuMemcpyHtoDAsync_v2(cu_address to, const void *from, size_t bytes,
                                      cu_stream stream) {
  CHECK(is_inside(from, bytes, true) && is_inside((void *)(uintptr_t)to, bytes, false));
  return copy_later(stream, (void *)(uintptr_t)to, from, bytes);
}

EXPORT cu_result cuMemcpyDtoHAsync_v2(void *to, cu_address from, size_t bytes,
                                      cu_stream stream) {
  CHECK(is_inside(to, bytes, true) && is_inside((void *)(uintptr_t)from, bytes, false));
  return copy_later(stream, to, (void *)(uintptr_t)from, bytes);
}

EXPORT cu_result cuLaunchKernel(cu_function function, unsigned gx, unsigned gy, unsigned gz,
                                unsigned bx, unsigned by, unsigned bz, unsigned shared_bytes,
                                cu_stream stream, void **arguments, void **extra) {
  CHECK(shared_bytes == 0 && extra == NULL);
  CHECK(gx != 0 && gy != 0 && gz != 0 && gy <= 65535 && gz <= 65535);
  CHECK(bx != 0 && by != 0 && bz != 0 && bx * by * bz <= (unsigned)is.threads);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    step what = {
        .kind = RUN, .function = function, .grid = {gx, gy, gz}, .block = {bx, by, bz}};
    CHECK(function->of->parameters <= MOST_ARGUMENTS);
    for (int i = 0; i < function->of->parameters; ++i) {
      memcpy(&what.arguments[i], arguments[i], function->of->parameter_bytes[i]);
      CHECK(function->of->parameter_bytes[i] != 8 ||
            is_inside((void *)(uintptr_t)what.arguments[i], 1, false));
    }
    give(stream, &what);
  }
  return result;
}

static void run(step *of) {
  void *given[MOST_ARGUMENTS];
  if (of->kind == COPY) {
    memcpy(of->to, of->from, of->bytes);
    return;
  }
  for (int i = 0; i < of->function->of->parameters; ++i) {
    given[i] = &of->arguments[i];
  }
  seen.launches += 1;
  of->function->run(of->function->of, of->grid, of->block, given);
}

EXPORT cu_result cuStreamCreate(cu_stream *out, unsigned flags) {
  CHECK(flags == CU_STREAM_NON_BLOCKING);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
    (*out)->context = current_context();
  }
  return result;
}

EXPORT cu_result cuStreamDestroy_v2(cu_stream stream) {
  CHECK(!stream->is_capturing);
  drop_given(stream);
  return given_back(stream);
}

EXPORT cu_result cuStreamSynchronize(cu_stream stream) {
  if (stream == NULL) { /* the one of synchronous copies */
    return in_context();
  }
  check_stream(stream);
  if (stream->is_capturing) {
    return IN_CAPTURE;
  }
  cu_result result = in_context();
  for (step *at = stream->first; result == CU_SUCCESS && at != NULL; at = at->next) {
    run(at);
  }
  drop_given(stream);
  return result;
}

/* What the stream was given before is as it was. */
EXPORT cu_result cuStreamBeginCapture_v2(cu_stream stream, unsigned mode) {
  check_stream(stream);
  CHECK(mode == CU_CAPTURE_RELAXED && !stream->is_capturing);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    stream->is_capturing = true;
    capturing += 1;
  }
  return result;
}

EXPORT cu_result cuStreamEndCapture(cu_stream stream, cu_graph *out) {
  check_stream(stream);
  CHECK(stream->is_capturing);
  stream->is_capturing = false;
  capturing -= 1;
  cu_result result = in_context();
  if (result != CU_SUCCESS) {
    drop(&stream->captured);
    *out = NULL;
    return result;
  }
  cu_graph graph = made(sizeof *graph);
  *graph = (struct CUgraph_st){current_context(), graphs, stream->captured, false};
  stream->captured = NULL;
  graphs = graph;
  *out = graph;
  return CU_SUCCESS;
}

static void check_graph(cu_graph graph) {
  CHECK(graph != NULL && !graph->is_gone && graph->context == current_context());
}

static void check_graph_run(cu_graph_run graph) {
  CHECK(graph != NULL && !graph->is_gone && graph->context == current_context());
}

static void copy_steps(cu_graph graph, cu_graph_run to) {
  drop(&to->first);
  for (step *at = graph->first; at != NULL; at = at->next) {
    append(&to->first, at);
  }
}

EXPORT cu_result cuGraphInstantiateWithFlags(cu_graph_run *out, cu_graph graph,
                                             unsigned long long flags) {
  check_graph(graph);
  CHECK(flags == 0 && capturing == 0);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    cu_graph_run run = made(sizeof *run);
    *run = (struct CUgraphExec_st){.context = current_context(), .next = graph_runs};
    copy_steps(graph, run);
    graph_runs = run;
    seen.instances += 1;
    *out = run;
  }
  return result;
}

/* Whether one may take the other's place: sizes, arguments and functions may differ. */
static bool is_alike(const step *a, const step *b) {
  while (a != NULL && b != NULL && a->kind == b->kind &&
         (a->kind == RUN || is_inside(a->to, 1, true) == is_inside(b->to, 1, true))) {
    a = a->next;
    b = b->next;
  }
  return a == NULL && b == NULL;
}

EXPORT cu_result cuGraphExecUpdate(cu_graph_run run, cu_graph graph, cu_graph_node *out_node,
                                   unsigned *out_reason) {
  check_graph_run(run);
  check_graph(graph);
  CHECK(out_node != NULL && out_reason != NULL && capturing == 0 && run->running == 0);
  cu_result result = in_context();
  if (result == CU_SUCCESS && !is_alike(run->first, graph->first)) {
    result = CU_GRAPH_EXEC_UPDATE_FAILURE;
  }
  if (result == CU_SUCCESS) {
    copy_steps(graph, run);
    seen.updates += 1;
  }
  *out_node = NULL;
  *out_reason = result != CU_SUCCESS;
  return result;
}

EXPORT cu_result cuGraphUpload(cu_graph_run graph, cu_stream stream) {
  check_graph_run(graph);
  check_stream(stream);
  CHECK(!stream->is_capturing);
  return in_context();
}

EXPORT cu_result cuGraphLaunch(cu_graph_run graph, cu_stream stream) {
  check_graph_run(graph);
  check_stream(stream);
  CHECK(!stream->is_capturing);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    seen.graphs += 1;
    for (step *at = graph->first; at != NULL; at = at->next) {
      step what = *at;
      what.of = graph;
      graph->running += 1;
      append(&stream->first, &what);
    }
  }
  return result;
}

EXPORT cu_result cuGraphExecDestroy(cu_graph_run graph) {
  check_graph_run(graph);
  CHECK(graph->running == 0);
  drop(&graph->first);
  graph->is_gone = true;
  return ended();
}

EXPORT cu_result cuGraphDestroy(cu_graph graph) {
  check_graph(graph);
  drop(&graph->first);
  graph->is_gone = true;
  return ended();
}

EXPORT cu_result cuEventCreate(cu_event *out, unsigned flags) {
  CHECK(flags == 0);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
  }
  return result;
}

EXPORT cu_result cuEventDestroy_v2(cu_event event) { return given_back(event); }

EXPORT cu_result cuEventRecord(cu_event event, cu_stream stream) {
  CHECK(!stream->is_capturing);
  event->recorded = 1;
  return in_context();
}

EXPORT cu_result cuEventElapsedTime(float *out, cu_event begin, cu_event end) {
  CHECK(begin->recorded && end->recorded);
  *out = 0.0005f; /* milliseconds */
  return in_context();
}
