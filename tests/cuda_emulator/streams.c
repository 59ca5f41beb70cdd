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
} step;

struct CUgraph_st {
  step *first;
};
struct CUgraphExec_st {
  step *first;
};
struct CUstream_st {
  step *first;
  bool is_capturing;
};

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

static cu_result copy_later(cu_stream stream, void *to, const void *from, size_t bytes) {
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    step what = {.kind = COPY, .to = to, .from = from, .bytes = bytes};
    append(&stream->first, &what);
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
    append(&stream->first, &what);
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
  }
  return result;
}

EXPORT cu_result cuStreamDestroy_v2(cu_stream stream) {
  drop(&stream->first);
  return given_back(stream);
}

EXPORT cu_result cuStreamSynchronize(cu_stream stream) {
  if (stream == NULL) { /* the one of synchronous copies */
    return in_context();
  }
  if (stream->is_capturing) {
    return IN_CAPTURE;
  }
  cu_result result = in_context();
  for (step *at = stream->first; result == CU_SUCCESS && at != NULL; at = at->next) {
    run(at);
  }
  drop(&stream->first);
  return result;
}

EXPORT cu_result cuStreamBeginCapture_v2(cu_stream stream, unsigned mode) {
  CHECK(mode == CU_CAPTURE_RELAXED && !stream->is_capturing);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    for (step *at = stream->first; at != NULL; at = at->next) {
      run(at);
    }
    drop(&stream->first);
    stream->is_capturing = true;
  }
  return result;
}

EXPORT cu_result cuStreamEndCapture(cu_stream stream, cu_graph *out) {
  CHECK(stream->is_capturing);
  stream->is_capturing = false;
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
    (*out)->first = stream->first;
    stream->first = NULL;
  } else {
    drop(&stream->first);
  }
  return result;
}

EXPORT cu_result cuGraphInstantiateWithFlags(cu_graph_run *out, cu_graph graph,
                                             unsigned long long flags) {
  CHECK(flags == 0);
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    *out = made(sizeof **out);
    for (step *at = graph->first; at != NULL; at = at->next) {
      append(&(*out)->first, at);
    }
  }
  return result;
}

EXPORT cu_result cuGraphUpload(cu_graph_run graph, cu_stream stream) {
  (void)graph;
  (void)stream;
  return in_context();
}

EXPORT cu_result cuGraphLaunch(cu_graph_run graph, cu_stream stream) {
  cu_result result = in_context();
  if (result == CU_SUCCESS) {
    seen.graphs += 1;
    for (step *at = graph->first; at != NULL; at = at->next) {
      append(&stream->first, at);
    }
  }
  return result;
}

EXPORT cu_result cuGraphExecDestroy(cu_graph_run graph) {
  drop(&graph->first);
  return given_back(graph);
}

EXPORT cu_result cuGraphDestroy(cu_graph graph) {
  drop(&graph->first);
  return given_back(graph);
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
