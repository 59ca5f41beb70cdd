/* A driver of CUDA without a device: built as libcuda.so.1, it runs kernels that were compiled
 * for the CPU (cuda_on_cpu.h), and fails when it is told to.
 *
 * It is stricter than a driver. What is given to a stream runs when the stream is waited for,
 * so that results which are read too early are not there. Copies want pinned memory; every
 * call wants its context; memory is poisoned, and what lies behind it is checked when it is
 * given back. Graphs are used in their context, while they are there, and not in a stream that
 * records; one that runs is neither changed nor destroyed. The environment's EC_EMULATOR, or
 * ec_emulator_configure, says what it is like:
 *
 *   version=13000      of the driver
 *   capability=90      of the device
 *   devices=1          how many
 *   memory=BYTES       that the device has
 *   threads=1024       most of a block
 *   kernels=PATH       a library of kernels
 *   jit=TEXT           modules are refused with this log
 *   load=NUMBER        modules are refused with this result
 *   init=NUMBER        what cuInit says
 *   fail_at=N          the call of this number that can fail does,
 *   fail_with=NUMBER   with this result; one of a lost device loses the context
 *   report=PATH        what is left when the process ends: "live L calls C ..."
 *
 * emulator.c is the device and its contexts; memory.c, modules.c and streams.c are what their
 * names say.
 */
#ifndef EC_TESTS_CUDA_EMULATOR_H_
#define EC_TESTS_CUDA_EMULATOR_H_

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/cuda/cu.h"

#define CHECK(condition)                                                                \
  do {                                                                                  \
    if (!(condition)) {                                                                 \
      (void)fprintf(stderr, "CUDA emulator, %s:%d: not true: %s\n", __FILE__, __LINE__, \
                    #condition);                                                        \
      abort();                                                                          \
    }                                                                                   \
  } while (0)

#define EXPORT __attribute__((visibility("default")))

enum { MOST_ARGUMENTS = 32 };

/* As cuda_on_cpu.h writes it. */
typedef struct kernel {
  const char *name;
  void (*call)(void **arguments);
  int parameters;
  int has_barriers;
  const unsigned char *parameter_bytes;
} kernel;
typedef void (*emulate)(const kernel *, const unsigned[3], const unsigned[3], void **);

struct CUfunc_st {
  const kernel *of;
  emulate run;
  struct CUfunc_st *next;
};

/* What the driver is like, as it was configured. */
struct emulator_options {
  int version, capability, devices, threads;
  cu_result init, load, fail_with;
  unsigned fail_at;
  size_t memory;
  char kernels[4096], jit[256], report[1024];
};
extern struct emulator_options is;

/* What happened. */
struct emulator_events {
  unsigned live, calls;
  unsigned launches;  /* kernels that ran */
  unsigned graphs;    /* that were started */
  unsigned alone;     /* kernels and copies that were given to a stream one by one */
  unsigned instances; /* graphs that were made ready to run */
  unsigned updates;   /* and those that took the place of one */
  size_t used;
};
extern struct emulator_events seen;

/* Of a call that can fail and wants a current context. */
cu_result in_context(void);

/* Memory of an object, zeros, which counts as live until it is given back. */
void *made(size_t bytes);
cu_result given_back(void *memory);

/* The same of what stays as a mark that it is gone. */
cu_result ended(void);

/* Of the calling thread; there is one. */
cu_context current_context(void);

/* Whether a range is in one block of the right kind. */
bool is_inside(const void *data, size_t bytes, bool is_host);

#endif /* EC_TESTS_CUDA_EMULATOR_H_ */
