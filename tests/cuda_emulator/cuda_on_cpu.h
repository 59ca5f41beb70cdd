/* CUDA C on a CPU: what nvcc gives kernels, for a C++ compiler.
 *
 * The threads of a block run one after the other; where a kernel has barriers each is a context
 * of its own that is left at every barrier until all have come there. Blocks follow each other,
 * so that shared memory is static memory. Vectors that are loaded at once are checked for their
 * alignment by -fsanitize=alignment.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

/* The headers of C++ for these would be most of a kernel's compile time. */
extern "C" {
void *calloc(size_t count, size_t bytes) noexcept;
void *malloc(size_t bytes) noexcept;
void free(void *memory) noexcept;
void abort(void) noexcept;
float fmaf(float, float, float) noexcept;
#define EC_MATH(name) float name##f(float) noexcept;
EC_MATH(rint) EC_MATH(round) EC_MATH(trunc) EC_MATH(floor) EC_MATH(ceil) EC_MATH(sqrt)
EC_MATH(exp) EC_MATH(log) EC_MATH(erf) EC_MATH(tanh) EC_MATH(sin) EC_MATH(cos) EC_MATH(tan)
EC_MATH(asin) EC_MATH(acos) EC_MATH(atan) EC_MATH(sinh) EC_MATH(cosh) EC_MATH(asinh)
EC_MATH(acosh) EC_MATH(atanh) EC_MATH(fabs)
}

#define EC_ON_CPU
#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(threads)
#define __shared__ static
#define __syncthreads() ec_emulator::barrier()

namespace ec_emulator {

struct place {
  unsigned x, y, z;
};
/* As emulator.h reads it. */
struct kernel {
  const char *name;
  void (*call)(void **arguments);
  int parameters;
  int has_barriers;
  const unsigned char *parameter_bytes;
};

static const unsigned most_threads = 1024;
static const size_t stack_bytes = 256 * 1024;

struct fiber {
  ucontext_t context;
  place thread;
  bool is_done;
};

static ucontext_t scheduler;
static fiber *fibers;
static fiber *current;
static char *stacks;
static const kernel *running;
static void **arguments;

}  // namespace ec_emulator

static ec_emulator::place threadIdx, blockIdx, blockDim, gridDim;

namespace ec_emulator {

static inline void barrier() {
  fiber *own = current;
  swapcontext(&own->context, &scheduler);
  threadIdx = own->thread;
}

/* The instruction of a warp, as PTX's mma.m16n8k32 of 8-bit integers, m16n8k16 of 16-bit floats
 * and m16n8k8 of tf32, which are alike but for the elements of a word: every thread gives its
 * parts of both matrices, and all of them have come before any goes on. */
static int parts_a[most_threads][4], parts_b[most_threads][2];

static inline int byte_of(int word, int number, bool is_unsigned) {
  unsigned bits = static_cast<unsigned>(word) >> (8 * number) & 0xff;
  return is_unsigned || bits < 128 ? static_cast<int>(bits) : static_cast<int>(bits) - 256;
}

template <class Sum, class Element>
static inline void multiply(Sum *sums, const int *a, const int *b, unsigned word,
                            Element element_of) {
  unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  unsigned lane = thread % 32, warp = thread - lane, half = 4 * word;
  memcpy(parts_a[thread], a, sizeof parts_a[thread]);
  memcpy(parts_b[thread], b, sizeof parts_b[thread]);
  barrier();
  for (unsigned i = 0; i < 4; ++i) {
    unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
    auto sum = element_of.first(sums[i]);
    for (unsigned k = 0; k < 2 * half; ++k) {
      unsigned place = k % half / word;
      sum += element_of.x(parts_a[warp + row % 8 * 4 + place][row / 8 + k / half * 2], k % word) *
             element_of.w(parts_b[warp + column * 4 + place][k / half], k % word);
    }
    sums[i] = static_cast<Sum>(sum);
  }
  barrier();
}

/* Of 8 bits: sums wrap around. */
struct bytes {
  bool is_x_unsigned, is_w_unsigned;
  long long first(int sum) const { return sum; }
  long long x(int word, unsigned number) const { return byte_of(word, number, is_x_unsigned); }
  long long w(int word, unsigned number) const { return byte_of(word, number, is_w_unsigned); }
};

/* Floats: products are exact, and sums rounded where an instruction ends. */
struct halves {
  bool is_bfloat16;
  double first(float sum) const { return sum; }
  double x(int word, unsigned number) const {
    unsigned bits = static_cast<unsigned>(word) >> (16 * number) & 0xffff;
    if (is_bfloat16) {
      bits <<= 16;
      float wide;
      memcpy(&wide, &bits, sizeof wide);
      return wide;
    }
    unsigned short narrow = static_cast<unsigned short>(bits);
    _Float16 half;
    memcpy(&half, &narrow, sizeof half);
    return static_cast<double>(half);
  }
  double w(int word, unsigned number) const { return x(word, number); }
};
struct tf32 {
  double first(float sum) const { return sum; }
  /* To nearest, ties away from zero: cvt.rna.tf32.f32. */
  double x(int word, unsigned) const { return w(static_cast<int>((word + 0x1000u) & ~0x1fffu), 0); }
  /* Other bits of an operand are not looked at. */
  double w(int word, unsigned) const {
    unsigned bits = static_cast<unsigned>(word) & ~0x1fffu;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
  }
};

static inline void mma_s8(int *sums, const int *a, const int *b) {
  multiply(sums, a, b, 4, bytes{false, false});
}
static inline void mma_u8(int *sums, const int *a, const int *b) {
  multiply(sums, a, b, 4, bytes{true, false});
}
static inline void mma_s8_u8(int *sums, const int *a, const int *b) {
  multiply(sums, a, b, 4, bytes{false, true});
}
static inline void mma_u8_u8(int *sums, const int *a, const int *b) {
  multiply(sums, a, b, 4, bytes{true, true});
}
static inline void mma_f16(float *sums, const int *a, const int *b) {
  multiply(sums, a, b, 2, halves{false});
}
static inline void mma_bf16(float *sums, const int *a, const int *b) {
  multiply(sums, a, b, 2, halves{true});
}
static inline void mma_tf32(float *sums, const int *a, const int *b) {
  multiply(sums, a, b, 1, tf32{});
}

/* __shfl_xor_sync of all threads of a warp. */
static int given[most_threads];
template <class T>
static inline T of_thread(T x, int distance) {
  static_assert(sizeof x == sizeof given[0], "a word");
  unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  memcpy(&given[thread], &x, sizeof x);
  barrier();
  T other;
  memcpy(&other, &given[thread ^ static_cast<unsigned>(distance)], sizeof other);
  barrier();
  return other;
}

/* cvt.rn.bf16.f32; NaN is the quiet one that PTX says. */
static inline int bfloat16_of(float x) {
  unsigned bits;
  memcpy(&bits, &x, sizeof bits);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<int>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

/* PTX's mma.m8n8k4 of float16: eight threads make a product of 8 rows and 8 columns, four of them
 * the upper half of both; there are four such products in a warp. */
static inline void mma_f16_quads(float *sums, const int *a, const int *b) {
  unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  unsigned lane = thread % 32, first = thread - lane + lane % 16 / 4 * 4;
  const halves element_of{false};
  memcpy(parts_a[thread], a, 2 * sizeof *a);
  memcpy(parts_b[thread], b, 2 * sizeof *b);
  barrier();
  for (unsigned i = 0; i < 8; ++i) {
    unsigned row = lane % 2 + (i & 2) + lane / 16 * 4;
    unsigned column = (i & 4) + (lane & 2) + i % 2;
    const int *x = parts_a[first + row % 4 + row / 4 * 16];
    const int *w = parts_b[first + column % 4 + column / 4 * 16];
    double sum = sums[i];
    for (unsigned k = 0; k < 4; ++k) {
      sum += element_of.x(x[k / 2], k % 2) * element_of.w(w[k / 2], k % 2);
    }
    sums[i] = static_cast<float>(sum);
  }
  barrier();
}

/* PTX's wmma.m16n16k16 of 8 bits: 16 rows by 16 elements of K, which lie in rows of 16 (the second
 * operand in columns of 16), times the same by 16 columns. Which elements a thread has is not documented:
 * here it is an order that nobody would guess, another one for each fragment. */
static const unsigned wmma_side = 16, wmma_elements = wmma_side * wmma_side;
static unsigned char wmma_a[most_threads / 32][wmma_elements];
static unsigned char wmma_b[most_threads / 32][wmma_elements];

static inline unsigned wmma_element(unsigned factor, unsigned number) {
  unsigned lane = threadIdx.x % 32;
  return ((lane * 8 + number) * factor + 11) % wmma_elements;
}
static inline void wmma_check(const void *matrix) {
  if (reinterpret_cast<uintptr_t>(matrix) % 32 != 0) {
    fprintf(stderr, "%s: a matrix of wmma does not begin at 32 bytes\n", running->name);
    abort();
  }
}
static inline void wmma_load(int *fragment, const int *matrix, unsigned factor) {
  wmma_check(matrix);
  unsigned char bytes[8];
  for (unsigned i = 0; i < 8; ++i) {
    bytes[i] = reinterpret_cast<const unsigned char *>(matrix)[wmma_element(factor, i)];
  }
  memcpy(fragment, bytes, sizeof bytes);
}
static inline void wmma_load_a(int *fragment, const int *matrix) {
  wmma_load(fragment, matrix, 37);
}
static inline void wmma_load_b(int *fragment, const int *matrix) {
  wmma_load(fragment, matrix, 101);
}
static inline void wmma_multiply(int *sums, const int *a, const int *b, bool is_unsigned) {
  unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  unsigned char *x = wmma_a[thread / 32], *w = wmma_b[thread / 32];
  for (unsigned i = 0; i < 8; ++i) {
    x[wmma_element(37, i)] = static_cast<unsigned char>(byte_of(a[i / 4], i % 4, true));
    w[wmma_element(101, i)] = static_cast<unsigned char>(byte_of(b[i / 4], i % 4, true));
  }
  barrier();
  for (unsigned i = 0; i < 8; ++i) {
    unsigned element = wmma_element(59, i);
    long long sum = sums[i];
    for (unsigned k = 0; k < wmma_side; ++k) {
      sum += byte_of(x[element / wmma_side * wmma_side + k], 0, is_unsigned) *
             byte_of(w[element % wmma_side * wmma_side + k], 0, is_unsigned);
    }
    sums[i] = static_cast<int>(sum);
  }
  barrier();
}
static inline void wmma_s8(int *sums, const int *a, const int *b) {
  wmma_multiply(sums, a, b, false);
}
static inline void wmma_u8(int *sums, const int *a, const int *b) {
  wmma_multiply(sums, a, b, true);
}
static inline void wmma_store(int *matrix, const int *sums) {
  wmma_check(matrix);
  for (unsigned i = 0; i < 8; ++i) matrix[wmma_element(59, i)] = sums[i];
}

static void enter() {
  threadIdx = current->thread;
  running->call(arguments);
  current->is_done = true;
  swapcontext(&current->context, &scheduler);
}

static place place_of(unsigned index, const unsigned sizes[3]) {
  return {index % sizes[0], index / sizes[0] % sizes[1], index / (sizes[0] * sizes[1])};
}

/* All threads to their ends, from barrier to barrier. */
static void run_fibers(unsigned count, const unsigned block[3]) {
  for (unsigned i = 0; i < count; ++i) {
    fiber *of = &fibers[i];
    getcontext(&of->context);
    of->context.uc_stack.ss_sp = stacks + i * stack_bytes;
    of->context.uc_stack.ss_size = stack_bytes;
    of->context.uc_link = nullptr;
    of->thread = place_of(i, block);
    of->is_done = false;
    makecontext(&of->context, enter, 0);
  }
  for (unsigned left = count; left != 0;) {
    unsigned done = 0;
    for (unsigned i = 0; i < count; ++i) {
      current = &fibers[i];
      swapcontext(&scheduler, &current->context);
      done += current->is_done;
    }
    if (done != 0 && done != count) {
      fprintf(stderr, "%s: %u of %u threads did not come to a barrier\n", running->name, done,
              count);
      abort();
    }
    left -= done;
  }
}

template <size_t...>
struct indices {};
template <size_t N, size_t... I>
struct up_to : up_to<N - 1, N - 1, I...> {};
template <size_t... I>
struct up_to<0, I...> {
  typedef indices<I...> type;
};
template <class... A, size_t... I>
void invoke(void (*function)(A...), void **given, indices<I...>) {
  function(*static_cast<A *>(given[I])...);
}
template <class... A>
void invoke(void (*function)(A...), void **given) {
  invoke(function, given, typename up_to<sizeof...(A)>::type());
}
template <class... A>
const unsigned char *bytes_of(void (*)(A...)) {
  static const unsigned char bytes[] = {sizeof(A)..., 0};
  return bytes;
}
template <class... A>
constexpr int count_of(void (*)(A...)) {
  return static_cast<int>(sizeof...(A));
}

}  // namespace ec_emulator

/* Where the kernels of this library are found: a list that ends with an empty name. */
extern "C" const ec_emulator::kernel ec_emulated_kernels[];

/* All blocks of a kernel. */
extern "C" void ec_emulate(const ec_emulator::kernel *kernel, const unsigned grid[3],
                           const unsigned block[3], void **given) {
  ec_emulator::running = kernel;
  ec_emulator::arguments = given;
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  unsigned threads = block[0] * block[1] * block[2];
  if (kernel->has_barriers) {
    ec_emulator::fibers =
        static_cast<ec_emulator::fiber *>(calloc(threads, sizeof *ec_emulator::fibers));
    ec_emulator::stacks = static_cast<char *>(malloc(threads * ec_emulator::stack_bytes));
  }
  for (unsigned b = 0; b < grid[0] * grid[1] * grid[2]; ++b) {
    blockIdx = ec_emulator::place_of(b, grid);
    if (kernel->has_barriers) {
      ec_emulator::run_fibers(threads, block);
      continue;
    }
    for (unsigned t = 0; t < threads; ++t) {
      threadIdx = ec_emulator::place_of(t, block);
      kernel->call(given);
    }
  }
  /* A process of tests opens hundreds of libraries; Linux does not fork one that has more memory
   * in one piece than the machine has. */
  free(ec_emulator::stacks);
  free(ec_emulator::fibers);
  ec_emulator::stacks = nullptr;
  ec_emulator::fibers = nullptr;
}

#define EC_EMULATED_CALL(symbol) \
  static void call_##symbol(void **given) { ec_emulator::invoke(&symbol, given); }
#define EC_EMULATED(symbol, has_barriers) \
  {#symbol, call_##symbol, ec_emulator::count_of(&symbol), has_barriers, \
   ec_emulator::bytes_of(&symbol)},
