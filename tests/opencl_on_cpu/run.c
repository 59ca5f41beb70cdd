/* Work items of a kernel one after the other; see opencl_on_cpu.cl. */
#include <stdint.h>
#include <stdlib.h>

static size_t places[2][3];

size_t ec_place(unsigned what, unsigned axis) { return places[what][axis]; }

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

void ec_run(void (*kernel)(void), const unsigned groups[3], const unsigned items[3],
            unsigned count, void **pointers) {
  size_t all_groups = (size_t)groups[0] * groups[1] * groups[2];
  size_t all_items = (size_t)items[0] * items[1] * items[2];
  for (size_t g = 0; g < all_groups; ++g) {
    for (size_t i = 0; i < all_items; ++i) {
      size_t group = g, item = i;
      for (unsigned axis = 0; axis < 3; ++axis) {
        places[0][axis] = group % groups[axis];
        group /= groups[axis];
        places[1][axis] = item % items[axis];
        item /= items[axis];
      }
      call(kernel, count, pointers);
    }
  }
}
