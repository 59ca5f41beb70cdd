/* A back end for tests that, like a GPU's, does its work only when it is synced. */
#ifndef EDGECOMP_TESTS_RUNTIME_DEFERRED_DEVICE_H
#define EDGECOMP_TESTS_RUNTIME_DEFERRED_DEVICE_H

#include <stdint.h>

#include "edgecomp/edgecomp.h"

/* What happened, and what is to fail (EC_OK: nothing). */
typedef struct deferred_log {
  uint32_t probes, opens, prepares, launches, syncs, profiles, closes;
  ec_status probe_status, open_status, prepare_status, launch_status, sync_status,
      profile_status;
} deferred_log;

extern deferred_log deferred;

#endif /* EDGECOMP_TESTS_RUNTIME_DEFERRED_DEVICE_H */
