/* What a session has of the CUDA back end. */
#ifndef EDGECOMP_SRC_DEVICE_CUDA_CUDA_STATE_H
#define EDGECOMP_SRC_DEVICE_CUDA_CUDA_STATE_H

#include <stdint.h>

#include "device/cuda/cu.h"
#include "device/cuda/cuda_choose.h"
#include "device/cuda/cuda_driver.h"
#include "device/cuda/cuda_memory.h"
#include "exec/device.h"

struct ec_cu_part;

/* Followed in memory by an address and a place for each tensor, a module for each program, a
 * function and a part for each call, what the parts have (cuda_graphs.h), and a byte for each
 * call. */
typedef struct ec_cu_state {
  ec_device_context session;
  ec_cu_driver driver;
  ec_cu_device device;
  cu_context context;
  cu_stream stream;
  cu_event begin; /* of a call that is measured */
  cu_event end;
  ec_cu_memory memory;
  cu_module *modules;
  cu_function *functions;
  struct ec_cu_part **parts; /* at the first call of each */
  uint64_t uses;             /* of graphs, so far: which of them was used least recently */
  uint8_t *is_pending;       /* a copy whose contents are to be taken from the pinned memory */
  uint64_t table[];
} ec_cu_state;

#endif /* EDGECOMP_SRC_DEVICE_CUDA_CUDA_STATE_H */
