/* What a device back end is: the functions that run.c calls.
 *
 * A back end owns the calls of a model whose `device` is its index. Its life in a session:
 *
 *   probe         can this machine run the model's calls? (load a driver, look at features)
 *   state_bytes   how much of the session's memory it wants for itself
 *   open          set up `state`; on failure it has undone what it did
 *   prepare       once per call: resolve pointers, build the program, record arguments
 *   launch        start a call; may return before it is finished. Of a device with memory of
 *                 its own copies are calls, too (ec_launch)
 *   launch_run    start the calls [first, end), which follow each other and are all the
 *                 device's, and of which the last alone may count; NULL where they are started
 *                 one by one
 *   launch_strips start the calls [first, end), a group of strips; NULL where the back end
 *                 makes them one by one
 *   sync          wait until everything launched is finished: copies from the device are in
 *                 the arena, and what was copied to it may change there
 *   profile       run a call to its end and measure it with the device's own clock
 *   fetch         bring a tensor of the device's own arena into the session's, whatever was
 *                 copied; NULL where there is no other arena
 *   close         undo open
 *
 * launch, launch_run, launch_strips, sync and profile allocate nothing; what a driver takes
 * for what it is asked to keep is bounded. One that is not built in has a name alone.
 */
#ifndef EDGECOMP_SRC_EXEC_DEVICE_H
#define EDGECOMP_SRC_EXEC_DEVICE_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"
#include "exec/pool.h"
#include "exec/sizes.h"

/* What a session lends to its back ends, for as long as it is open. */
typedef struct ec_device_context {
  const ec_model *model;
  uint8_t *arena;
  const uint8_t *weights; /* NULL when the model has none */
  ec_pool *pool;
  uint8_t *workspaces; /* one per thread of the pool */
  uint64_t workspace_stride_bytes;
  const ec_sizes *sizes;          /* NULL for a model whose sizes are fixed */
  const ec_open_options *options; /* only while `open` and `prepare` are called */
} ec_device_context;

/* All return EC_OK, or a status with the message set. */
typedef struct ec_device_backend {
  const char *name;
  ec_status (*probe)(const ec_model *model, const ec_open_options *options);
  uint64_t (*state_bytes)(const ec_model *model);
  ec_status (*open)(const ec_device_context *context, void *state);
  ec_status (*prepare)(void *state, uint32_t call);
  ec_status (*launch)(void *state, uint32_t call);
  ec_status (*launch_run)(void *state, uint32_t first, uint32_t end);
  ec_status (*launch_strips)(void *state, uint32_t first, uint32_t end);
  ec_status (*sync)(void *state);
  ec_status (*profile)(void *state, uint32_t call, uint64_t *out_ns);
  ec_status (*fetch)(void *state, uint32_t tensor);
  void (*close)(void *state);
} ec_device_backend;

/* A back end that a session has opened; `backend` is NULL where no call needs it. */
typedef struct ec_device {
  const ec_device_backend *backend;
  void *state; /* 64-byte aligned, state_bytes long */
} ec_device;

#endif /* EDGECOMP_SRC_EXEC_DEVICE_H */
