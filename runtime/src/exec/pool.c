#include "exec/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/checked.h"
#include "platform/event.h"
#include "platform/thread.h"

/* How long to spin before sleeping: calls that run on one thread, between two that are shared,
 * mostly take less. Sleeping and waking takes 50 us and more on a virtual machine. */
#define SPIN_NS 200000u

/* A thread's slice is taken in at most this many pieces, by the thread itself and by others
 * that are done with theirs: so nobody waits long for a core that is slower than its share, or
 * for a worker that has yet to wake up. */
#define MAX_PIECES 8u
#define PIECE_BITS 4u
#define PIECE_MASK ((1u << PIECE_BITS) - 1u)

/* A thread's part of the job, on cache lines of its own; so is what its thread spins on, which
 * would take the line from who writes the rest.
 *
 * `state` is the number of the job, shifted, and the pieces that nobody has taken. Who changes
 * it from r > 0 to r - 1 pieces owns one: as long as pieces are left the job runs, so that
 * what was read of the slice and of the job before that belongs to it. */
typedef struct ec_slice {
  _Alignas(EC_ALIGNMENT_BYTES) _Atomic uint32_t state;
  _Atomic int32_t lo;
  _Atomic int32_t hi;
  _Atomic int32_t piece_items;
  _Atomic uint32_t pieces;
  ec_pool *pool; /* these three are the worker's, not used for thread 0 */
  uint32_t thread;
  ec_thread handle;
  /* Advanced for each job with this slice, and to stop. */
  _Alignas(EC_ALIGNMENT_BYTES) ec_event job;
} ec_slice;

struct ec_pool {
  _Alignas(EC_ALIGNMENT_BYTES) _Atomic uint32_t pending; /* pieces that are not finished */
  _Alignas(EC_ALIGNMENT_BYTES) ec_event done; /* advanced when a worker finishes the last */
  _Alignas(EC_ALIGNMENT_BYTES) _Atomic(ec_slice_function) function;
  _Atomic(void *) context;
  uint64_t spin_ns;
  uint32_t *share_ends; /* [threads]: sum of the shares up to and including a thread's */
  uint32_t threads;
  uint32_t number; /* of the job, shifted by PIECE_BITS */
  _Atomic bool stopping;
  ec_slice slices[]; /* [threads], then the share_ends */
};

uint64_t ec_pool_bytes(uint32_t threads) {
  return sizeof(ec_pool) + (uint64_t)threads * (sizeof(ec_slice) + sizeof(uint32_t));
}

/* First item behind the slice of a thread, of those that share a job. Rounded up, so that few
 * items start at thread 0, the caller. The product fits: both factors are below 2^32. */
static int32_t slice_end(const ec_pool *pool, int32_t items, uint32_t thread,
                         uint32_t threads) {
  uint64_t sum = pool->share_ends[threads - 1];
  uint64_t scaled = (uint64_t)items * pool->share_ends[thread];
  return (int32_t)((scaled + sum - 1) / sum);
}

/* A share of 0: the thread computes nothing. */
static bool takes_part(const ec_pool *pool, uint32_t thread) {
  return pool->share_ends[thread] > (thread == 0 ? 0 : pool->share_ends[thread - 1]);
}

/* Take pieces of a slice and compute them until none is left; returns how many. */
static uint32_t drain(ec_pool *pool, ec_slice *slice, uint32_t thread) {
  uint32_t taken = 0;
  uint32_t state = atomic_load(&slice->state);
  while ((state & PIECE_MASK) != 0) {
    ec_slice_function function = atomic_load_explicit(&pool->function, memory_order_relaxed);
    void *context = atomic_load_explicit(&pool->context, memory_order_relaxed);
    int32_t lo = atomic_load_explicit(&slice->lo, memory_order_relaxed);
    int32_t hi = atomic_load_explicit(&slice->hi, memory_order_relaxed);
    int32_t items = atomic_load_explicit(&slice->piece_items, memory_order_relaxed);
    uint32_t pieces = atomic_load_explicit(&slice->pieces, memory_order_relaxed);
    if (!atomic_compare_exchange_weak(&slice->state, &state, state - 1)) {
      continue;
    }
    int32_t begin = lo + (int32_t)(pieces - (state & PIECE_MASK)) * items;
    function(context, thread, begin, hi - begin > items ? begin + items : hi);
    ++taken;
    state = atomic_load(&slice->state);
  }
  return taken;
}

/* Compute pieces of the own slice, then of others'; true if the job ended with them. */
static bool take_pieces(ec_pool *pool, uint32_t thread) {
  if (!takes_part(pool, thread)) {
    return false;
  }
  for (uint32_t i = 0; i < pool->threads; ++i) {
    uint32_t from = thread + i < pool->threads ? thread + i : thread + i - pool->threads;
    uint32_t taken = drain(pool, &pool->slices[from], thread);
    if (taken != 0 && atomic_fetch_sub(&pool->pending, taken) == taken) {
      return true;
    }
  }
  return false;
}

static void *work(void *argument) {
  ec_slice *slice = argument;
  ec_pool *pool = slice->pool;
  uint32_t seen = 0;
  for (;;) {
    seen = ec_event_wait(&slice->job, seen, pool->spin_ns);
    if (atomic_load(&pool->stopping)) {
      return NULL;
    }
    if (take_pieces(pool, slice->thread)) {
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
}

/* End the workers 1 to `count` - 1. */
static void stop_workers(ec_pool *pool, uint32_t count) {
  atomic_store(&pool->stopping, true);
  for (uint32_t i = 1; i < count; ++i) {
    ec_event_advance(&pool->slices[i].job);
  }
  for (uint32_t i = 1; i < count; ++i) {
    ec_thread_join(pool->slices[i].handle);
    ec_event_destroy(&pool->slices[i].job);
  }
  ec_event_destroy(&pool->done);
}

static void set_slice(ec_slice *slice, int32_t lo, int32_t hi, uint32_t pieces,
                      int32_t piece_items) {
  atomic_store_explicit(&slice->lo, lo, memory_order_relaxed);
  atomic_store_explicit(&slice->hi, hi, memory_order_relaxed);
  atomic_store_explicit(&slice->pieces, pieces, memory_order_relaxed);
  atomic_store_explicit(&slice->piece_items, piece_items, memory_order_relaxed);
}

static bool start_worker(ec_pool *pool, uint32_t thread) {
  ec_slice *slice = &pool->slices[thread];
  slice->pool = pool;
  slice->thread = thread;
  if (!ec_event_init(&slice->job)) {
    return false;
  }
  if (!ec_thread_start(work, slice, &slice->handle)) {
    ec_event_destroy(&slice->job);
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
  atomic_init(&pool->function, NULL);
  atomic_init(&pool->context, NULL);
  atomic_init(&pool->stopping, false);
  pool->number = 0;
  pool->threads = threads;
  /* Spinning with fewer processors than threads would keep the others from working. */
  pool->spin_ns = threads <= ec_processor_count() ? SPIN_NS : 0;
  pool->share_ends = (uint32_t *)(uintptr_t)&pool->slices[threads];
  set_shares(pool, shares);
  for (uint32_t i = 0; i < threads; ++i) { /* before any worker looks at the others' */
    atomic_init(&pool->slices[i].state, 0);
    set_slice(&pool->slices[i], 0, 0, 0, 0);
  }
  for (uint32_t i = 1; i < threads; ++i) {
    if (!start_worker(pool, i)) {
      stop_workers(pool, i);
      return NULL;
    }
  }
  return pool;
}

/* Cut one thread's slice [lo, hi); returns the number of its pieces. A piece is not much
 * smaller than twice the grain: what a piece costs by itself would show. */
static uint32_t cut_slice(ec_slice *slice, int32_t lo, int32_t hi, uint32_t grain) {
  uint32_t items = (uint32_t)(hi - lo);
  if (items == 0) {
    set_slice(slice, 0, 0, 0, 0);
    return 0;
  }
  uint32_t pieces = items / 2 / grain;
  pieces = pieces < 1 ? 1 : pieces > MAX_PIECES ? MAX_PIECES : pieces;
  uint32_t piece_items = (items + pieces - 1) / pieces;
  pieces = (items + piece_items - 1) / piece_items;
  set_slice(slice, lo, hi, pieces, (int32_t)piece_items);
  return pieces;
}

/* Threads that a job is worth sharing among. */
static uint32_t sharers(const ec_pool *pool, uint32_t items, uint32_t grain) {
  uint32_t most = items / grain;
  uint32_t threads = most < pool->threads ? most : pool->threads;
  return threads > 1 && pool->share_ends[threads - 1] > 0 ? threads : 1;
}

/* Hand the slices to the workers, the caller's own last: it is at hand anyway. */
static void publish(ec_pool *pool, uint32_t threads) {
  pool->number += 1u << PIECE_BITS;
  for (uint32_t i = threads; i-- > 0;) {
    ec_slice *slice = &pool->slices[i];
    uint32_t pieces = atomic_load_explicit(&slice->pieces, memory_order_relaxed);
    if (pieces != 0) {
      atomic_store_explicit(&slice->state, pool->number | pieces, memory_order_release);
      if (i != 0) {
        ec_event_advance(&slice->job);
      }
    }
  }
}

void ec_pool_run(ec_pool *pool, int32_t items, uint32_t grain, ec_slice_function function,
                 void *context) {
  uint32_t threads = sharers(pool, (uint32_t)items, grain);
  if (threads == 1) {
    function(context, 0, 0, items);
    return;
  }
  uint32_t seen = atomic_load(&pool->done.value);
  atomic_store_explicit(&pool->function, function, memory_order_relaxed);
  atomic_store_explicit(&pool->context, context, memory_order_relaxed);
  uint32_t pending = 0;
  int32_t lo = 0;
  for (uint32_t i = 0; i < threads; ++i) {
    int32_t hi = slice_end(pool, items, i, threads);
    pending += cut_slice(&pool->slices[i], lo, hi, grain);
    lo = hi;
  }
  atomic_store_explicit(&pool->pending, pending, memory_order_relaxed);
  publish(pool, threads);
  if (!take_pieces(pool, 0)) {
    (void)ec_event_wait(&pool->done, seen, pool->spin_ns);
  }
}

void ec_pool_stop(ec_pool *pool) {
  if (pool != NULL) {
    stop_workers(pool, pool->threads);
  }
}
