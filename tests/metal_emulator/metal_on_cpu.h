/* Metal on a CPU: what Apple's compiler gives kernels, for a C++ compiler.
 *
 * Vectors, packed vectors and functions as far as kernels use them; threads and barriers are those
 * of cuda_on_cpu.h. Address spaces and attributes are left out: that they are right, only Apple's
 * compiler can say. Loads of whole vectors are checked for their alignment by
 * -fsanitize=alignment.
 */
#include "../cuda_emulator/cuda_on_cpu.h"

#define device
#define threadgroup static
#define thread
#define threadgroup_barrier(flags) ec_emulator::barrier()

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;

struct uint3 {
  uint x, y, z;
};

namespace metal_emulator {

/* Elements side by side, aligned as one load of all needs. */
template <class T, int N>
struct alignas(sizeof(T) * N) vec;

/* As they lie in memory, aligned as an element is. */
template <class T, int N>
struct packed {
  T v[N];
  packed() = default;
  explicit packed(const vec<T, N> &x) {
    for (int i = 0; i < N; ++i) v[i] = x.v[i];
  }
};

template <class T, int N>
struct alignas(sizeof(T) * N) vec {
  T v[N];
  vec() = default;
  explicit vec(T x) {
    for (int i = 0; i < N; ++i) v[i] = x;
  }
  vec(T a, T b) : v{a, b} {}
  vec(T a, T b, T c, T d) : v{a, b, c, d} {}
  explicit vec(const packed<T, N> &x) {
    for (int i = 0; i < N; ++i) v[i] = x.v[i];
  }
  template <class S>
  explicit vec(const vec<S, N> &x) {
    for (int i = 0; i < N; ++i) v[i] = static_cast<T>(x.v[i]);
  }
  T operator[](int i) const { return v[i]; }
};

#define EC_LANES(result, expression)                              \
  vec<result, N> r;                                               \
  for (int i = 0; i < N; ++i) r.v[i] = (expression);              \
  return r;
#define EC_OPERATOR(op, result)                                             \
  template <class T, int N>                                                 \
  vec<result, N> operator op(const vec<T, N> &a, const vec<T, N> &b) {      \
    EC_LANES(result, static_cast<result>(a.v[i] op b.v[i]))                 \
  }
EC_OPERATOR(+, T) EC_OPERATOR(-, T) EC_OPERATOR(*, T) EC_OPERATOR(/, T) EC_OPERATOR(%, T)
EC_OPERATOR(&, T) EC_OPERATOR(|, T) EC_OPERATOR(^, T) EC_OPERATOR(<<, T) EC_OPERATOR(>>, T)
EC_OPERATOR(<, bool) EC_OPERATOR(<=, bool) EC_OPERATOR(>, bool) EC_OPERATOR(>=, bool)
EC_OPERATOR(==, bool) EC_OPERATOR(!=, bool) EC_OPERATOR(&&, bool) EC_OPERATOR(||, bool)
#define EC_PREFIX(op)                                                       \
  template <class T, int N>                                                 \
  vec<T, N> operator op(const vec<T, N> &a) {                               \
    EC_LANES(T, static_cast<T>(op a.v[i]))                                  \
  }
EC_PREFIX(-) EC_PREFIX(~) EC_PREFIX(!)

/* Metal takes two operands of one type only: so do these. */
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
template <class T, int N>
vec<T, N> min(const vec<T, N> &a, const vec<T, N> &b) { EC_LANES(T, min(a.v[i], b.v[i])) }
template <class T, int N>
vec<T, N> max(const vec<T, N> &a, const vec<T, N> &b) { EC_LANES(T, max(a.v[i], b.v[i])) }
template <class T, int N>
vec<T, N> select(const vec<T, N> &a, const vec<T, N> &b, const vec<bool, N> &c) {
  EC_LANES(T, c.v[i] ? b.v[i] : a.v[i])
}
inline float abs(float x) { return ::fabsf(x); }
template <class T> T abs(T x) { return x < 0 ? static_cast<T>(-x) : x; }
template <class T, int N> vec<T, N> abs(const vec<T, N> &x) { EC_LANES(T, abs(x.v[i])) }
inline float fma(float a, float b, float c) { return ::fmaf(a, b, c); }
template <int N>
vec<float, N> fma(const vec<float, N> &a, const vec<float, N> &b, const vec<float, N> &c) {
  EC_LANES(float, ::fmaf(a.v[i], b.v[i], c.v[i]))
}
template <int N>
float dot(const vec<float, N> &a, const vec<float, N> &b) {
  float r = a.v[0] * b.v[0];
  for (int i = 1; i < N; ++i) r = ::fmaf(a.v[i], b.v[i], r);
  return r;
}
template <class T, class S>
T as_type(const S &x) {
  static_assert(sizeof(T) == sizeof(S), "as many bits");
  T r;
  memcpy(static_cast<void *>(&r), &x, sizeof r);
  return r;
}
#define EC_METAL(name)                                                      \
  inline float name(float x) { return ::name##f(x); }                       \
  template <int N>                                                          \
  vec<float, N> name(const vec<float, N> &x) { EC_LANES(float, ::name##f(x.v[i])) }
EC_METAL(rint) EC_METAL(trunc) EC_METAL(floor) EC_METAL(ceil)
namespace precise {
EC_METAL(sqrt) EC_METAL(exp) EC_METAL(log) EC_METAL(tanh) EC_METAL(sin) EC_METAL(cos)
EC_METAL(tan) EC_METAL(asin) EC_METAL(acos) EC_METAL(atan) EC_METAL(sinh) EC_METAL(cosh)
EC_METAL(asinh) EC_METAL(acosh) EC_METAL(atanh)
}  // namespace precise

/* A kernel takes its buffers, then its group and its thread. */
template <class... A, size_t... I>
void start(void (*function)(A...), void **given, ec_emulator::indices<I...>) {
  uint3 group = {blockIdx.x, blockIdx.y, blockIdx.z};
  uint3 item = {threadIdx.x, threadIdx.y, threadIdx.z};
  reinterpret_cast<void (*)(decltype((void *)given[I])..., uint3, uint3)>(function)(
      *static_cast<void **>(given[I])..., group, item);
}
template <class... A>
void start(void (*function)(A...), void **given) {
  start(function, given, typename ec_emulator::up_to<sizeof...(A) - 2>::type());
}
template <class... A>
constexpr int count_of(void (*)(A...)) {
  return static_cast<int>(sizeof...(A)) - 2;
}

}  // namespace metal_emulator

#define EC_TYPES(name, T)                            \
  typedef metal_emulator::vec<T, 2> name##2;         \
  typedef metal_emulator::vec<T, 4> name##4;         \
  typedef metal_emulator::packed<T, 2> packed_##name##2; \
  typedef metal_emulator::packed<T, 4> packed_##name##4;
typedef _Float16 half;
EC_TYPES(half, half) EC_TYPES(float, float) EC_TYPES(int, int) EC_TYPES(uint, uint) EC_TYPES(char, signed char)
EC_TYPES(uchar, uchar) EC_TYPES(short, short) EC_TYPES(ushort, ushort) EC_TYPES(long, long)
EC_TYPES(ulong, ulong) EC_TYPES(bool, bool) EC_TYPES(half, half)
using namespace metal_emulator;

#define EC_METAL_CALL(symbol) \
  static void call_##symbol(void **given) { metal_emulator::start(&symbol, given); }
#define EC_METAL_KERNEL(symbol, has_barriers) \
  {#symbol, call_##symbol, metal_emulator::count_of(&symbol), has_barriers, nullptr},
