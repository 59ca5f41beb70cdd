/* How a session's one block of memory is divided.
 *
 *   | session | message | back-end states | sizes | pool | arena | workspace of thread 0 | ...
 */
#ifndef EDGECOMP_SRC_HOST_LAYOUT_H
#define EDGECOMP_SRC_HOST_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "edgecomp/edgecomp.h"

/* Offsets in bytes, all multiples of EC_ALIGNMENT_BYTES. */
typedef struct ec_layout {
  bool uses_device[EC_DEVICE_COUNT];
  uint64_t message;                 /* of a failed device */
  uint64_t states[EC_DEVICE_COUNT]; /* where the device is used */
  uint64_t sizes;                   /* of a dynamic model */
  uint64_t pool;
  uint64_t arena;
  uint64_t workspaces;
  uint64_t workspace_stride_bytes; /* slack included */
  uint64_t total_bytes;
} ec_layout;

/* Lay out a checked plan for `threads` threads, with room for a message of `message_bytes`.
 * EC_ERROR_OUT_OF_MEMORY when it could not fit into any address space; the status of a back
 * end that is absent. */
ec_status ec_layout_make(const ec_model *model, uint32_t threads, uint64_t message_bytes,
                         ec_layout *out_layout);

#endif /* EDGECOMP_SRC_HOST_LAYOUT_H */
