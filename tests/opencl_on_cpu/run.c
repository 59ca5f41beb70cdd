/* Work items of a kernel one after the other; see opencl_on_cpu.cl. */
#include <stdint.h>
#include <stdlib.h>

static size_t places[2][3];

size_t ec_place(unsigned what, unsigned axis) { return places[what][axis]; }

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
