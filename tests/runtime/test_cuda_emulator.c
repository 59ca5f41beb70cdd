/* The stand-in for CUDA's driver ends a process that uses streams and graphs as CUDA does not
 * allow. */
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "cuda_model.h"
#include "device/cuda/cu.h"
#include "device/cuda/cuda_driver.h"
#include "edgecomp/edgecomp.h"

/* What a case begins with: a graph of one copy, ready to run. */
typedef struct things {
  ec_cu_driver driver;
  cu_context context;
  cu_stream stream;
  cu_graph graph;
  cu_graph_run run;
  cu_address there;
  void *here;
} things;

enum { BYTES = 64 };

#define WORKS(call) CHECK_EQUAL(CU_SUCCESS, call)

static void begin(things *of) {
  WORKS(of->driver.StreamBeginCapture_v2(of->stream, CU_CAPTURE_RELAXED));
}

static void copy(things *of) {
  WORKS(of->driver.MemcpyHtoDAsync_v2(of->there, of->here, BYTES, of->stream));
}

static void end(things *of, cu_graph *out_graph) {
  WORKS(of->driver.StreamEndCapture(of->stream, out_graph));
}

static void make(things *of) {
  CHECK_STATUS(EC_OK, ec_cu_driver_load(&of->driver));
  WORKS(of->driver.CtxCreate_v2(&of->context, 0, 0));
  WORKS(of->driver.StreamCreate(&of->stream, CU_STREAM_NON_BLOCKING));
  WORKS(of->driver.MemAlloc_v2(&of->there, BYTES));
  WORKS(of->driver.MemHostAlloc(&of->here, BYTES, 0));
  begin(of);
  copy(of);
  end(of, &of->graph);
  WORKS(of->driver.GraphInstantiateWithFlags(&of->run, of->graph, 0));
}

static void start(things *of) { WORKS(of->driver.GraphLaunch(of->run, of->stream)); }

static void update(things *of) {
  cu_graph_node node = NULL;
  unsigned reason = 0;
  WORKS(of->driver.GraphExecUpdate(of->run, of->graph, &node, &reason));
}

static void destroy_run(things *of) { WORKS(of->driver.GraphExecDestroy(of->run)); }

static void destroy_graph(things *of) { WORKS(of->driver.GraphDestroy(of->graph)); }

static void enter_other_context(things *of) {
  cu_context other = NULL;
  WORKS(of->driver.CtxCreate_v2(&other, 0, 0));
}

/* As it should be. */
static void use_well(things *of) {
  start(of);
  WORKS(of->driver.StreamSynchronize(of->stream));
  update(of);
  WORKS(of->driver.GraphUpload(of->run, of->stream));
  destroy_graph(of);
  start(of);
  begin(of); /* what was given before is as it was */
  copy(of);
  copy(of);
  end(of, &of->graph);
  WORKS(of->driver.StreamSynchronize(of->stream));
  cu_graph_node node = NULL;
  unsigned reason = 0;
  CHECK_EQUAL(CU_GRAPH_EXEC_UPDATE_FAILURE,
              of->driver.GraphExecUpdate(of->run, of->graph, &node, &reason));
  CHECK(reason != 0);
  start(of); /* one copy still */
  WORKS(of->driver.StreamSynchronize(of->stream));
  CHECK_EQUAL(3, cuda_driver.graphs());
  CHECK_EQUAL(1, cuda_driver.updates());
  CHECK_EQUAL(0, cuda_driver.alone());
  destroy_run(of);
  destroy_graph(of);
  WORKS(of->driver.MemFreeHost(of->here));
  WORKS(of->driver.MemFree_v2(of->there));
  WORKS(of->driver.StreamDestroy_v2(of->stream));
  CHECK_EQUAL(1, cuda_driver.live());
}

static void start_destroyed(things *of) {
  destroy_run(of);
  start(of);
}

static void upload_destroyed(things *of) {
  destroy_run(of);
  WORKS(of->driver.GraphUpload(of->run, of->stream));
}

static void destroy_twice(things *of) {
  destroy_run(of);
  destroy_run(of);
}

static void destroy_graph_twice(things *of) {
  destroy_graph(of);
  destroy_graph(of);
}

static void update_destroyed(things *of) {
  destroy_run(of);
  update(of);
}

static void update_by_destroyed(things *of) {
  destroy_graph(of);
  update(of);
}

static void instantiate_destroyed(things *of) {
  destroy_graph(of);
  WORKS(of->driver.GraphInstantiateWithFlags(&of->run, of->graph, 0));
}

static void update_running(things *of) {
  start(of);
  update(of);
}

static void destroy_running(things *of) {
  start(of);
  destroy_run(of);
}

static void begin_twice(things *of) {
  begin(of);
  begin(of);
}

static void end_without_begin(things *of) {
  cu_graph graph = NULL;
  end(of, &graph);
}

static void start_in_capture(things *of) {
  begin(of);
  start(of);
}

static void upload_in_capture(things *of) {
  begin(of);
  WORKS(of->driver.GraphUpload(of->run, of->stream));
}

static void instantiate_in_capture(things *of) {
  begin(of);
  WORKS(of->driver.GraphInstantiateWithFlags(&of->run, of->graph, 0));
}

static void update_in_capture(things *of) {
  begin(of);
  update(of);
}

static void wait_in_capture(things *of) {
  begin(of);
  WORKS(of->driver.StreamSynchronize(of->stream));
}

static void destroy_stream_in_capture(things *of) {
  begin(of);
  WORKS(of->driver.StreamDestroy_v2(of->stream));
}

static void start_in_other_context(things *of) {
  enter_other_context(of);
  start(of);
}

static void update_in_other_context(things *of) {
  enter_other_context(of);
  update(of);
}

static void copy_in_other_context(things *of) {
  enter_other_context(of);
  copy(of);
}

/* In a process of its own; one that fails a check of this file's exits with 1. */
static int result_of(void (*use)(things *)) {
  (void)fflush(NULL);
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    things of = {0};
    CHECK(freopen("/dev/null", "w", stderr) != NULL);
    (void)signal(SIGABRT, SIG_DFL);
    cuda_driver.configure("");
    make(&of);
    use(&of);
    _exit(0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  return status;
}

static bool is_refused(int status) {
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

int main(void) {
  static void (*const misuses[])(things *) = {
      start_destroyed,        upload_destroyed,
      destroy_twice,          destroy_graph_twice,
      update_destroyed,       update_by_destroyed,
      instantiate_destroyed,  update_running,
      destroy_running,        begin_twice,
      end_without_begin,      start_in_capture,
      upload_in_capture,      instantiate_in_capture,
      update_in_capture,      destroy_stream_in_capture,
      start_in_other_context, update_in_other_context,
      copy_in_other_context,
  };
  cuda_driver_load();
  CHECK_EQUAL(0, result_of(use_well));
  for (size_t i = 0; i < sizeof misuses / sizeof *misuses; ++i) {
    if (!is_refused(result_of(misuses[i]))) {
      (void)fprintf(stderr, "misuse %zu is not refused\n", i);
      return EXIT_FAILURE;
    }
  }
  int waited = result_of(wait_in_capture); /* which the driver itself says */
  CHECK(WIFEXITED(waited) && WEXITSTATUS(waited) == 1);
  return 0;
}
