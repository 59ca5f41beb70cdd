/* A session: everything that one opened model needs, in one block of memory. */
#ifndef EDGECOMP_SRC_HOST_SESSION_H
#define EDGECOMP_SRC_HOST_SESSION_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "exec/device.h"
#include "exec/pool.h"
#include "exec/sizes.h"
#include "host/weights.h"

struct ec_session {
  const ec_model *model;
  uint8_t *arena;
  ec_weights weights;
  ec_pool *pool;
  ec_sizes sizes; /* of a model with a dynamic part */
  ec_device devices[EC_DEVICE_COUNT];
  uint32_t calls_run;         /* by the last run */
  ec_status device_failure;   /* of the plan that was tried before this one */
  const char *device_message; /* of that; NULL where nothing failed */
  uint64_t owned_bytes;       /* of the block, when ec_session_open took it; else 0 */
};

/* The failure of a function that was given no session. */
ec_status ec_no_session(void);

#endif /* EDGECOMP_SRC_HOST_SESSION_H */
