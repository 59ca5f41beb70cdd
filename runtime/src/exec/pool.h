/* The thread pool: shares a range of work among threads, the caller among them.
 *
 * Workers wait for the next job by spinning briefly and then sleeping, so that the many short
 * calls of one inference do not each pay for waking them. A thread that is done with its slice
 * helps with the others': until a worker is awake its slice is computed by those that are.
 * Running a job allocates nothing.
 */
#ifndef EDGECOMP_SRC_EXEC_POOL_H
#define EDGECOMP_SRC_EXEC_POOL_H

#include <stdint.h>

typedef struct ec_pool ec_pool; /* opaque */

/* Work items [lo, hi), on thread `thread` of the pool (0 is the caller of ec_pool_run). */
typedef void (*ec_slice_function)(void *context, uint32_t thread, int32_t lo, int32_t hi);

/* Bytes of 64-byte aligned memory that a pool of `threads` takes. */
uint64_t ec_pool_bytes(uint32_t threads);

/* Start `threads - 1` workers; the pool is `memory` itself. `shares` are `threads` weights
 * whose sum is 1 to UINT32_MAX, or NULL for equal ones, read only here. NULL when the system
 * has no more threads. */
ec_pool *ec_pool_start(void *memory, uint32_t threads, const uint32_t *shares);

/* Call `function` on contiguous ranges that together are [0, items); returns when all are
 * done. Each thread begins with the slice that is its share of the items. As many threads take
 * part as leave each `grain` items (1 or more) or more; fewer than two grains run on the
 * caller alone, in one call. A thread with no share takes no part otherwise. Not re-entrant.
 */
void ec_pool_run(ec_pool *pool, int32_t items, uint32_t grain, ec_slice_function function,
                 void *context);

/* End the workers. NULL is allowed. */
void ec_pool_stop(ec_pool *pool);

#endif /* EDGECOMP_SRC_EXEC_POOL_H */
