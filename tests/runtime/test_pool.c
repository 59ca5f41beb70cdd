/* The pool covers every item once, on as many threads as it has. */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "exec/pool.h"
#include "platform/clock.h"
#include "platform/memory.h"

#define MOST_ITEMS 1000
#define MOST_THREADS 8

typedef struct job {
  unsigned char times[MOST_ITEMS]; /* how often each item was computed */
  _Atomic uint32_t items_of[MOST_THREADS];
  _Atomic uint32_t ranges;
} job;

static void count_items(void *context, uint32_t thread, int32_t lo, int32_t hi) {
  job *counted = context;
  CHECK(thread < MOST_THREADS && lo < hi);
  atomic_fetch_add(&counted->items_of[thread], (uint32_t)(hi - lo));
  atomic_fetch_add(&counted->ranges, 1);
  for (int32_t i = lo; i < hi; ++i) {
    counted->times[i] += 1;
  }
}

static ec_pool *start(uint32_t threads, const uint32_t *shares) {
  void *memory = ec_memory_allocate((size_t)ec_pool_bytes(threads), 64);
  CHECK(memory != NULL);
  ec_pool *pool = ec_pool_start(memory, threads, shares);
  CHECK(pool == memory);
  return pool;
}

static void stop(ec_pool *pool) {
  ec_pool_stop(pool);
  ec_memory_release(pool);
}

static void check_grain(ec_pool *pool, int32_t items, uint32_t grain, job *out_job) {
  memset(out_job, 0, sizeof *out_job);
  ec_pool_run(pool, items, grain, count_items, out_job);
  for (int32_t i = 0; i < items; ++i) {
    CHECK_EQUAL(1, out_job->times[i]);
  }
}

static void check_run(ec_pool *pool, int32_t items, job *out_job) {
  check_grain(pool, items, 1, out_job);
}

static void test_every_count(void) {
  job counted;
  for (uint32_t threads = 1; threads <= MOST_THREADS; ++threads) {
    ec_pool *pool = start(threads, NULL);
    for (int32_t items = 1; items <= 70; ++items) {
      check_run(pool, items, &counted);
      if (items == 1 || threads == 1) {
        CHECK_EQUAL(1, counted.ranges);
        CHECK_EQUAL((uint32_t)items, counted.items_of[0]);
      }
    }
    check_run(pool, MOST_ITEMS, &counted);
    CHECK(threads == 1 || counted.ranges >= threads);
    stop(pool);
  }
}

static void test_grain(void) {
  job counted;
  ec_pool *pool = start(4, NULL);
  check_grain(pool, 39, 20, &counted); /* not enough for two */
  CHECK_EQUAL(1, counted.ranges);
  CHECK_EQUAL(39, counted.items_of[0]);
  check_grain(pool, 40, 20, &counted); /* two, one piece each */
  CHECK_EQUAL(2, counted.ranges);
  check_grain(pool, 1000, 125, &counted); /* four, one piece each */
  CHECK_EQUAL(4, counted.ranges);
  check_grain(pool, 1000, 62, &counted); /* two pieces each */
  CHECK_EQUAL(8, counted.ranges);
  check_grain(pool, 1000, 1, &counted); /* the most */
  CHECK_EQUAL(32, counted.ranges);
  check_grain(pool, 1000, INT32_MAX, &counted);
  CHECK_EQUAL(1, counted.ranges);
  stop(pool);
}

static void test_shares(void) {
  job counted;
  const uint32_t uneven[] = {4, 1, 0, 5};
  ec_pool *pool = start(4, uneven);
  check_run(pool, 1000, &counted);
  CHECK_EQUAL(0, counted.items_of[2]); /* no share, no work */
  CHECK_EQUAL(24, counted.ranges);
  check_run(pool, 3, &counted);
  stop(pool);

  const uint32_t none_for_caller[] = {0, 7};
  pool = start(2, none_for_caller);
  check_run(pool, 1000, &counted);
  CHECK_EQUAL(1000, counted.items_of[1]);
  check_run(pool, 1, &counted); /* alone on the caller all the same */
  CHECK_EQUAL(1, counted.items_of[0]);
  stop(pool);

  const uint32_t none_for_first[] = {0, 0, 7};
  pool = start(3, none_for_first);
  check_grain(pool, 1000, 500, &counted);
  CHECK_EQUAL(1000, counted.items_of[0]); /* worth two threads, which have no share */
  stop(pool);

  const uint32_t large[] = {UINT32_MAX - 1, 1};
  pool = start(2, large);
  check_run(pool, 1000, &counted); /* rounded up: nothing is left for the worker */
  CHECK_EQUAL(8, counted.ranges);
  stop(pool);
}

typedef struct slow_job {
  _Atomic int32_t done;
  _Atomic uint32_t ranges_of_worker;
} slow_job;

/* The worker's first range ends when all other items are computed. */
static void count_slowly(void *context, uint32_t thread, int32_t lo, int32_t hi) {
  slow_job *counted = context;
  if (thread == 1 && atomic_fetch_add(&counted->ranges_of_worker, 1) == 0) {
    while (atomic_load(&counted->done) != 64 - (hi - lo)) {
    }
  }
  atomic_fetch_add(&counted->done, hi - lo);
}

static void test_slow_worker(void) {
  ec_pool *pool = start(2, NULL);
  for (int i = 0; i < 100; ++i) {
    slow_job counted = {0};
    ec_pool_run(pool, 64, 1, count_slowly, &counted);
    CHECK_EQUAL(64, counted.done);
  }
  stop(pool);
}

/* Largest ranges: no product overflows. */
static void count_slices(void *context, uint32_t thread, int32_t lo, int32_t hi) {
  (void)thread;
  uint64_t width = (uint64_t)((int64_t)hi - lo);
  atomic_fetch_add((_Atomic uint64_t *)context, width);
}

static void test_large_range(void) {
  const uint32_t large[] = {UINT32_MAX / 2, UINT32_MAX / 2};
  ec_pool *pool = start(2, large);
  _Atomic uint64_t covered = 0;
  ec_pool_run(pool, INT32_MAX, 1, count_slices, &covered);
  CHECK_EQUAL(INT32_MAX, covered);
  stop(pool);
}

static void wait_until(uint64_t end_ns) {
  while (ec_clock_ns() < end_ns) {
  }
}

/* Workers that have gone to sleep wake up for the next job. */
static void test_pauses(void) {
  ec_pool *pool = start(3, NULL);
  job counted;
  for (int i = 0; i < 20; ++i) {
    wait_until(ec_clock_ns() + (uint64_t)i * 20000u);
    check_run(pool, 12, &counted);
  }
  stop(pool);
}

static void test_many_jobs(void) {
  job counted;
  ec_pool *pool = start(2, NULL);
  for (int i = 0; i < 3000; ++i) {
    check_run(pool, 2 + i % 5, &counted);
  }
  stop(pool);
  for (int i = 0; i < 50; ++i) { /* also without any job */
    stop(start(4, NULL));
  }
  ec_pool_stop(NULL);
}

int main(void) {
  test_every_count();
  test_grain();
  test_shares();
  test_slow_worker();
  test_large_range();
  test_pauses();
  test_many_jobs();
  return 0;
}
