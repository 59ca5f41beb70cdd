/* Work items of a kernel one after the other, group by group; see opencl_on_cpu.cl.
 *
 * Each has a stack of its own. One that waits for its group goes back to run_group, which goes on
 * with the next one until all of them wait or are done.
 */
#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

enum { STACK_BYTES = 1 << 16 };

typedef struct work_item {
  ucontext_t context;
  size_t place[3];
  int is_done;
} work_item;

static size_t group_place[3];
static work_item *current;
static ucontext_t scheduler;
static void (*running)(void);
static unsigned running_count;
static void **running_pointers;

size_t ec_place(unsigned what, unsigned axis) {
  return what == 0 ? group_place[axis] : current->place[axis];
}

void ec_barrier(void) { swapcontext(&current->context, &scheduler); }

/* An image of OpenCL's: rows of texels of four floats of 16 or 32 bits. */
typedef struct image {
  const void *data;
  int width, height;
  int is_half;
} image;
typedef float float4 __attribute__((vector_size(16)));

/* Zeros behind the border, as CLK_ADDRESS_CLAMP has them. */
float4 ec_texel(const image *of, int x, int y) {
  float4 texel = {0, 0, 0, 0};
  if (x < 0 || y < 0 || x >= of->width || y >= of->height) return texel;
  for (int i = 0; i < 4; ++i) {
    size_t at = 4 * ((size_t)y * of->width + x) + i;
    texel[i] = of->is_half ? (float)((const _Float16 *)of->data)[at]
                           : ((const float *)of->data)[at];
  }
  return texel;
}

void *__translate_sampler_initializer(int sampler) {
  (void)sampler;
  return NULL; /* there is one kind */
}

typedef void one(void *), two(void *, void *), three(void *, void *, void *),
    four(void *, void *, void *, void *), five(void *, void *, void *, void *, void *),
    six(void *, void *, void *, void *, void *, void *);

static void call(void (*kernel)(void), unsigned count, void **p) {
  switch (count) {
    case 1: ((one *)kernel)(p[0]); return;
    case 2: ((two *)kernel)(p[0], p[1]); return;
    case 3: ((three *)kernel)(p[0], p[1], p[2]); return;
    case 4: ((four *)kernel)(p[0], p[1], p[2], p[3]); return;
    case 5: ((five *)kernel)(p[0], p[1], p[2], p[3], p[4]); return;
    case 6: ((six *)kernel)(p[0], p[1], p[2], p[3], p[4], p[5]); return;
    default: abort();
  }
}

static void run_item(void) {
  call(running, running_count, running_pointers);
  current->is_done = 1;
}

static void split(size_t number, const unsigned sizes[3], size_t place[3]) {
  for (unsigned axis = 0; axis < 3; ++axis) {
    place[axis] = number % sizes[axis];
    number /= sizes[axis];
  }
}

static void run_group(work_item *all, size_t count, char *stacks) {
  for (size_t i = 0; i < count; ++i) {
    getcontext(&all[i].context);
    all[i].context.uc_stack.ss_sp = stacks + i * STACK_BYTES;
    all[i].context.uc_stack.ss_size = STACK_BYTES;
    all[i].context.uc_link = &scheduler;
    all[i].is_done = 0;
    makecontext(&all[i].context, run_item, 0);
  }
  for (size_t left = count; left != 0;) {
    for (size_t i = 0; i < count; ++i) {
      if (all[i].is_done) continue;
      current = &all[i];
      swapcontext(&scheduler, &current->context);
      left -= (size_t)current->is_done;
    }
  }
}

void ec_run(void (*kernel)(void), const unsigned groups[3], const unsigned items[3],
            unsigned count, void **pointers) {
  size_t all_groups = (size_t)groups[0] * groups[1] * groups[2];
  size_t all_items = (size_t)items[0] * items[1] * items[2];
  work_item *all = calloc(all_items, sizeof *all);
  char *stacks = malloc(all_items * STACK_BYTES);
  if (all == NULL || stacks == NULL) abort();
  running = kernel, running_count = count, running_pointers = pointers;
  for (size_t i = 0; i < all_items; ++i) split(i, items, all[i].place);
  for (size_t g = 0; g < all_groups; ++g) {
    split(g, groups, group_place);
    run_group(all, all_items, stacks);
  }
  free(stacks);
  free(all);
}
