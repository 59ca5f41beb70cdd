#include "exec/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "platform/event.h"
#include "platform/thread.h"

/* How long to spin before sleeping. Calls that run on one thread, between two that are sliced,
 * mostly take less; sleeping and waking takes about as long. */
#define SPIN_NS 50000u

/* Data of one worker, on cache lines of its own. */
typedef struct ec_worker {
  _Alignas(EC_ALIGNMENT_BYTES) ec_event job; /* advanced for each slice, and to stop */
  ec_pool *pool;
  uint32_t thread; /* 1 to pool->threads - 1 */
  int32_t lo;
  int32_t hi;
  ec_thread handle;
} ec_worker;

struct ec_pool {
  _Alignas(
      EC_ALIGNMENT_BYTES) _Atomic uint32_t pending; /* slices that workers still compute */
  _Alignas(EC_ALIGNMENT_BYTES) ec_event done;       /* advanced when none is left */
  _Alignas(EC_ALIGNMENT_BYTES) ec_slice_function function;
  void *context;
  uint64_t spin_ns;
  uint64_t share_sum;
  uint32_t *share_ends; /* [threads]: sum of the shares up to and including a thread's */
  uint32_t threads;
  bool stopping;
  ec_worker workers[]; /* [threads - 1], then the share_ends */
};

uint64_t ec_pool_bytes(uint32_t threads) {
  return sizeof(ec_pool) + (uint64_t)(threads - 1) * sizeof(ec_worker) +
         (uint64_t)threads * sizeof(uint32_t);
}

/* First item behind the slice of a thread. Rounded up, so that few items start at thread 0,
 * the caller, which needs no waking. The product fits: both factors are below 2^32. */
static int32_t slice_end(const ec_pool *pool, int32_t items, uint32_t thread) {
  uint64_t scaled = (uint64_t)items * pool->share_ends[thread];
  return (int32_t)((scaled + pool->share_sum - 1) / pool->share_sum);
}

static void *work(void *argument) {
  ec_worker *worker = argument;
  ec_pool *pool = worker->pool;
  uint32_t seen = 0;
  for (;;) {
    seen = ec_event_wait(&worker->job, seen, pool->spin_ns);
    if (pool->stopping) {
      return NULL;
    }
    pool->function(pool->context, worker->thread, worker->lo, worker->hi);
    if (atomic_fetch_sub(&pool->pending, 1) == 1) {
      ec_event_advance(&pool->done);
    }
  }
}

static void set_shares(ec_pool *pool, const uint32_t *shares) {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < pool->threads; ++i) {
    sum += shares != NULL ? shares[i] : 1;
    pool->share_ends[i] = sum;
  }
  pool->share_sum = sum;
}

/* End the workers 0 to `count` - 1. */
static void stop_workers(ec_pool *pool, uint32_t count) {
  pool->stopping = true;
  for (uint32_t i = 0; i < count; ++i) {
    ec_event_advance(&pool->workers[i].job);
  }
  for (uint32_t i = 0; i < count; ++i) {
    ec_thread_join(pool->workers[i].handle);
    ec_event_destroy(&pool->workers[i].job);
  }
  ec_event_destroy(&pool->done);
}

static bool start_worker(ec_pool *pool, uint32_t index) {
  ec_worker *worker = &pool->workers[index];
  worker->pool = pool;
  worker->thread = index + 1;
  if (!ec_event_init(&worker->job)) {
    return false;
  }
  if (!ec_thread_start(work, worker, &worker->handle)) {
    ec_event_destroy(&worker->job);
    return false;
  }
  return true;
}

ec_pool *ec_pool_start(void *memory, uint32_t threads, const uint32_t *shares) {
  ec_pool *pool = memory;
  atomic_init(&pool->pending, 0);
  if (!ec_event_init(&pool->done)) {
    return NULL;
  }
  pool->function = NULL;
  pool->context = NULL;
  pool->stopping = false;
  pool->threads = threads;
  /* Spinning with fewer processors than threads would keep the others from working. */
  pool->spin_ns = threads <= ec_processor_count() ? SPIN_NS : 0;
  pool->share_ends = (uint32_t *)(uintptr_t)&pool->workers[threads - 1];
  set_shares(pool, shares);
  for (uint32_t i = 0; i + 1 < threads; ++i) {
    if (!start_worker(pool, i)) {
      stop_workers(pool, i);
      return NULL;
    }
  }
  return pool;
}

/* Set the slices of the workers for `items`; returns how many of them have something to do. */
static uint32_t cut_slices(ec_pool *pool, int32_t items) {
  uint32_t busy = 0;
  int32_t lo = slice_end(pool, items, 0);
  for (uint32_t i = 0; i + 1 < pool->threads; ++i) {
    ec_worker *worker = &pool->workers[i];
    worker->lo = lo;
    worker->hi = slice_end(pool, items, i + 1);
    busy += worker->hi > lo ? 1 : 0;
    lo = worker->hi;
  }
  return busy;
}

void ec_pool_run(ec_pool *pool, int32_t items, ec_slice_function function, void *context) {
  if (pool->threads == 1 || items == 1) {
    function(context, 0, 0, items);
    return;
  }
  uint32_t busy = cut_slices(pool, items);
  uint32_t seen = atomic_load(&pool->done.value);
  pool->function = function;
  pool->context = context;
  atomic_store(&pool->pending, busy);
  for (uint32_t i = 0; i + 1 < pool->threads; ++i) {
    if (pool->workers[i].hi > pool->workers[i].lo) {
      ec_event_advance(&pool->workers[i].job);
    }
  }
  int32_t own_end = slice_end(pool, items, 0);
  if (own_end > 0) {
    function(context, 0, 0, own_end);
  }
  if (busy > 0) {
    (void)ec_event_wait(&pool->done, seen, pool->spin_ns);
  }
}

void ec_pool_stop(ec_pool *pool) {
  if (pool != NULL) {
    stop_workers(pool, pool->threads - 1);
  }
}
