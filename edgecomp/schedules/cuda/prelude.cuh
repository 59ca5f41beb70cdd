// What kernels are written with: vectors of any type and length, and functions of them.
//
// Everything is resolved when a kernel is compiled; a vector is as many registers. Sums are
// formed as they are written (nvcc's -fmad=false); fused ones are asked for by name.
#ifndef EC_ON_CPU
#include <cuda_fp16.h>
#endif

namespace ec {

#ifdef EC_ON_CPU
typedef _Float16 half;
#else
typedef __half half;
#endif

// Aligned as one load of it needs; at most the 16 bytes that a thread loads at once.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) vec {
  T v[N];
};

#define EC_INLINE __device__ __forceinline__
#define EC_EACH(i) _Pragma("unroll") for (int i = 0; i < N; ++i)

#define EC_BINARY(name, result, expression)                                \
  template <class T, int N>                                                \
  EC_INLINE vec<result, N> name(const vec<T, N>& a, const vec<T, N>& b) {  \
    vec<result, N> r;                                                      \
    EC_EACH(i) r.v[i] = static_cast<result>(expression);                   \
    return r;                                                              \
  }
EC_BINARY(operator+, T, a.v[i] + b.v[i])
EC_BINARY(operator-, T, a.v[i] - b.v[i])
EC_BINARY(operator*, T, a.v[i] * b.v[i])
EC_BINARY(operator/, T, a.v[i] / b.v[i])
EC_BINARY(operator%, T, a.v[i] % b.v[i])
EC_BINARY(operator&, T, a.v[i] & b.v[i])
EC_BINARY(operator|, T, a.v[i] | b.v[i])
EC_BINARY(operator^, T, a.v[i] ^ b.v[i])
EC_BINARY(operator<<, T, a.v[i] << b.v[i])
EC_BINARY(operator>>, T, a.v[i] >> b.v[i])
EC_BINARY(operator<, bool, a.v[i] < b.v[i])
EC_BINARY(operator<=, bool, a.v[i] <= b.v[i])
EC_BINARY(operator>, bool, a.v[i] > b.v[i])
EC_BINARY(operator>=, bool, a.v[i] >= b.v[i])
EC_BINARY(operator==, bool, a.v[i] == b.v[i])
EC_BINARY(operator!=, bool, a.v[i] != b.v[i])
EC_BINARY(operator&&, bool, a.v[i] && b.v[i])
EC_BINARY(operator||, bool, a.v[i] || b.v[i])

#define EC_UNARY(name, expression)                    \
  template <class T, int N>                           \
  EC_INLINE vec<T, N> name(const vec<T, N>& a) {      \
    vec<T, N> r;                                      \
    EC_EACH(i) r.v[i] = static_cast<T>(expression);   \
    return r;                                         \
  }
EC_UNARY(operator-, -a.v[i])
EC_UNARY(operator~, ~a.v[i])
EC_UNARY(operator!, !a.v[i])

template <int N, class T>
EC_INLINE vec<T, N> broadcast(T x) {
  vec<T, N> r;
  EC_EACH(i) r.v[i] = x;
  return r;
}

template <int N, class T>
EC_INLINE vec<T, N> ramp(T base, T stride) {
  vec<T, N> r;
  EC_EACH(i) r.v[i] = static_cast<T>(base + i * stride);
  return r;
}

template <class T, class S>
EC_INLINE T convert(S x) {
  return static_cast<T>(x);
}
template <class T, class S, int N>
EC_INLINE vec<T, N> convert(const vec<S, N>& x) {
  vec<T, N> r;
  EC_EACH(i) r.v[i] = static_cast<T>(x.v[i]);
  return r;
}

// The same bits as another type.
template <class T, class S>
EC_INLINE T bits(const S& x) {
  static_assert(sizeof(T) == sizeof(S), "as many bits");
  T r;
  memcpy(&r, &x, sizeof r);
  return r;
}

template <class T>
EC_INLINE T select(bool c, T a, T b) {
  return c ? a : b;
}
template <class T, int N>
EC_INLINE vec<T, N> select(const vec<bool, N>& c, const vec<T, N>& a, const vec<T, N>& b) {
  vec<T, N> r;
  EC_EACH(i) r.v[i] = c.v[i] ? a.v[i] : b.v[i];
  return r;
}

// Neighbouring elements: from any place, or from one that is aligned for all of them.
template <int N, class T>
EC_INLINE vec<T, N> load(const T* p) {
  vec<T, N> r;
  EC_EACH(i) r.v[i] = p[i];
  return r;
}
template <int N, class T>
EC_INLINE vec<T, N> load_aligned(const T* p) {
  return *reinterpret_cast<const vec<T, N>*>(p);
}
template <int N, class T>
EC_INLINE void store(T* p, const vec<T, N>& x) {
  EC_EACH(i) p[i] = x.v[i];
}
template <int N, class T>
EC_INLINE void store_aligned(T* p, const vec<T, N>& x) {
  *reinterpret_cast<vec<T, N>*>(p) = x;
}

// The first of two that are equal or not in order.
template <class T>
EC_INLINE T max(T a, T b) {
  return a > b ? a : b;
}
template <class T>
EC_INLINE T min(T a, T b) {
  return a < b ? a : b;
}
EC_BINARY(max, T, max(a.v[i], b.v[i]))
EC_BINARY(min, T, min(a.v[i], b.v[i]))

// Division that rounds down.
template <class T>
EC_INLINE T floordiv(T a, T b) {
  T q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}
template <class T>
EC_INLINE T floormod(T a, T b) {
  return a - floordiv(a, b) * b;
}

#define EC_FUNCTION(name, function)              \
  EC_INLINE float name(float x) {                \
    return function(x);                          \
  }                                              \
  template <int N>                               \
  EC_INLINE vec<float, N> name(const vec<float, N>& x) { \
    vec<float, N> r;                             \
    EC_EACH(i) r.v[i] = function(x.v[i]);        \
    return r;                                    \
  }
EC_FUNCTION(nearbyint, ::rintf)
EC_FUNCTION(round, ::roundf)
EC_FUNCTION(trunc, ::truncf)
EC_FUNCTION(floor, ::floorf)
EC_FUNCTION(ceil, ::ceilf)
EC_FUNCTION(sqrt, ::sqrtf)
EC_FUNCTION(exp, ::expf)
EC_FUNCTION(log, ::logf)
EC_FUNCTION(erf, ::erff)
EC_FUNCTION(tanh, ::tanhf)
EC_FUNCTION(sin, ::sinf)
EC_FUNCTION(cos, ::cosf)
EC_FUNCTION(tan, ::tanf)
EC_FUNCTION(asin, ::asinf)
EC_FUNCTION(acos, ::acosf)
EC_FUNCTION(atan, ::atanf)
EC_FUNCTION(sinh, ::sinhf)
EC_FUNCTION(cosh, ::coshf)
EC_FUNCTION(asinh, ::asinhf)
EC_FUNCTION(acosh, ::acoshf)
EC_FUNCTION(atanh, ::atanhf)

EC_INLINE float sigmoid(float x) {
  return 1.0f / (1.0f + ::expf(-x));
}
template <int N>
EC_INLINE vec<float, N> sigmoid(const vec<float, N>& x) {
  vec<float, N> r;
  EC_EACH(i) r.v[i] = sigmoid(x.v[i]);
  return r;
}

EC_INLINE float abs(float x) {
  return ::fabsf(x);
}
template <class T>
EC_INLINE T abs(T x) {
  return x < 0 ? static_cast<T>(-x) : x;
}
EC_UNARY(abs, abs(a.v[i]))

// Rounded once.
EC_INLINE float fma(float a, float b, float c) {
  return ::fmaf(a, b, c);
}
template <int N>
EC_INLINE vec<float, N> fma(const vec<float, N>& a, const vec<float, N>& b,
                            const vec<float, N>& c) {
  vec<float, N> r;
  EC_EACH(i) r.v[i] = ::fmaf(a.v[i], b.v[i], c.v[i]);
  return r;
}
// The fastest: fused for floats, exact for integers.
template <int N>
EC_INLINE vec<float, N> mad(const vec<float, N>& a, const vec<float, N>& b,
                            const vec<float, N>& c) {
  return fma(a, b, c);
}
EC_INLINE float mad(float a, float b, float c) {
  return ::fmaf(a, b, c);
}
EC_INLINE half mad(half a, half b, half c) {
#ifdef EC_ON_CPU
  return static_cast<half>(::fmaf(a, b, c));
#else
  return __hfma(a, b, c);
#endif
}
template <int N>
EC_INLINE vec<half, N> mad(const vec<half, N>& a, const vec<half, N>& b,
                           const vec<half, N>& c) {
  vec<half, N> r;
  EC_EACH(i) r.v[i] = mad(a.v[i], b.v[i], c.v[i]);
  return r;
}
template <class T>
EC_INLINE T mad24(const T& a, const T& b, const T& c) {
  return a * b + c;
}

template <int N>
EC_INLINE float dot(const vec<float, N>& a, const vec<float, N>& b) {
  float r = a.v[0] * b.v[0];
  _Pragma("unroll") for (int i = 1; i < N; ++i) r = ::fmaf(a.v[i], b.v[i], r);
  return r;
}

// Elements of x as words of 32 bits.
template <class T>
EC_INLINE int word(const T* p) {
  return *reinterpret_cast<const int*>(p);
}
template <class T>
EC_INLINE vec<int, 2> words2(const T* p) {
  return *reinterpret_cast<const vec<int, 2>*>(p);
}
template <class T>
EC_INLINE vec<int, 4> words4(const T* p) {
  return *reinterpret_cast<const vec<int, 4>*>(p);
}
template <class T>
EC_INLINE vec<T, 2> pack(T a, T b) {
  return {{a, b}};
}
template <class T>
EC_INLINE vec<T, 4> pack(T a, T b, T c, T d) {
  return {{a, b, c, d}};
}
template <class T>
EC_INLINE vec<T, 8> pack(T a, T b, T c, T d, T e, T f, T g, T h) {
  return {{a, b, c, d, e, f, g, h}};
}

// Words of neighbours along K whose elements lie apart, each at a place of its own.
EC_INLINE unsigned raw(signed char x) {
  return static_cast<unsigned char>(x);
}
EC_INLINE unsigned raw(unsigned char x) {
  return x;
}
EC_INLINE unsigned raw(unsigned short x) {
  return x;
}
EC_INLINE unsigned raw(half x) {
  return bits<unsigned short>(x);
}
EC_INLINE int joined(const float* a) {
  return bits<int>(*a);
}
template <class T>
EC_INLINE int joined(const T* a, const T* b) {
  static_assert(sizeof(T) == 2, "two to a word");
  return static_cast<int>(raw(*a) | raw(*b) << 16);
}
template <class T>
EC_INLINE int joined(const T* a, const T* b, const T* c, const T* d) {
  static_assert(sizeof(T) == 1, "four to a word");
  return static_cast<int>(raw(*a) | raw(*b) << 8 | raw(*c) << 16 | raw(*d) << 24);
}

// The same of several neighbouring columns, whose rows are loaded as words.
EC_INLINE int permute(int x, int y, unsigned selector) {
#ifdef EC_ON_CPU
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned place = selector >> (4 * i) & 7;
    r |= (static_cast<unsigned>(place < 4 ? x : y) >> (place % 4 * 8) & 255) << (8 * i);
  }
  return static_cast<int>(r);
#else
  return static_cast<int>(__byte_perm(x, y, selector));
#endif
}
EC_INLINE vec<int, 2> exchange_halves(int a, int b) {
  return {{permute(a, b, 0x5410), permute(a, b, 0x7632)}};
}
EC_INLINE vec<int, 4> exchange_bytes(int a, int b, int c, int d) {
  const vec<int, 2> low = exchange_halves(permute(a, b, 0x5140), permute(c, d, 0x5140));
  const vec<int, 2> high = exchange_halves(permute(a, b, 0x7362), permute(c, d, 0x7362));
  return {{low.v[0], low.v[1], high.v[0], high.v[1]}};
}
EC_INLINE vec<int, 2> columns2(const float* a) {
  return words2(a);
}
EC_INLINE vec<int, 4> columns4(const float* a) {
  return words4(a);
}
template <class T>
EC_INLINE vec<int, 2> columns2(const T* a, const T* b) {
  static_assert(sizeof(T) == 2, "two to a word");
  return exchange_halves(word(a), word(b));
}
template <class T>
EC_INLINE vec<int, 4> columns4(const T* a, const T* b) {
  static_assert(sizeof(T) == 2, "two to a word");
  const vec<int, 2> x = words2(a), y = words2(b);
  const vec<int, 2> low = exchange_halves(x.v[0], y.v[0]);
  const vec<int, 2> high = exchange_halves(x.v[1], y.v[1]);
  return {{low.v[0], low.v[1], high.v[0], high.v[1]}};
}
template <class T>
EC_INLINE int two_bytes(const T* p) {
  return *reinterpret_cast<const unsigned short*>(p);
}
template <class T>
EC_INLINE vec<int, 2> columns2(const T* a, const T* b, const T* c, const T* d) {
  static_assert(sizeof(T) == 1, "four to a word");
  return exchange_halves(permute(two_bytes(a), two_bytes(b), 0x5140),
                         permute(two_bytes(c), two_bytes(d), 0x5140));
}
template <class T>
EC_INLINE vec<int, 4> columns4(const T* a, const T* b, const T* c, const T* d) {
  static_assert(sizeof(T) == 1, "four to a word");
  return exchange_bytes(word(a), word(b), word(c), word(d));
}

// Sums of products of four 8-bit elements of x, signed or not, with four of each lane's weights.
#ifdef EC_ON_CPU
#define EC_DOT4(name, dtype)                                                         \
  inline int name(int x, int w, int sum) {                                           \
    _Pragma("unroll") for (int i = 0; i < 4; ++i) {                                  \
      int a = x >> (8 * i) & 255, b = w >> (8 * i) & 255;                            \
      a -= dtype[0] == 's' && a > 127 ? 256 : 0;                                     \
      sum += a * (b > 127 ? b - 256 : b);                                            \
    }                                                                                \
    return sum;                                                                      \
  }
#else
#define EC_DOT4(name, dtype)                                                         \
  EC_INLINE int name(int x, int w, int sum) {                                        \
    int r;                                                                           \
    asm("dp4a." dtype ".s32 %0, %1, %2, %3;" : "=r"(r) : "r"(x), "r"(w), "r"(sum));  \
    return r;                                                                        \
  }
#endif
EC_DOT4(dot4_s8, "s32")
EC_DOT4(dot4_u8, "u32")
template <int N>
EC_INLINE vec<int, N> dot4_s8(int x, const vec<int, N>& w, const vec<int, N>& sum) {
  vec<int, N> r;
  EC_EACH(i) r.v[i] = dot4_s8(x, w.v[i], sum.v[i]);
  return r;
}
// For devices that take x + 128; this one takes x as it is.
template <int N>
EC_INLINE vec<int, N> dot4_start(const vec<int, N>& bias, const vec<int, N>&) {
  return bias;
}
template <int N>
EC_INLINE vec<int, N> dot4_u8(int x, const vec<int, N>& w, const vec<int, N>& sum) {
  vec<int, N> r;
  EC_EACH(i) r.v[i] = dot4_u8(x, w.v[i], sum.v[i]);
  return r;
}

// Tensor cores: 16 rows by some elements of K times the same by 8 columns, by all threads of a
// warp. What is in a fragment says tensor_kernel.py.
#ifdef EC_ON_CPU
#define EC_MMA(name, instruction, sum, register, convert)                            \
  inline vec<sum, 4> name(const vec<int, 4>& a, const vec<int, 2>& b,                \
                          const vec<sum, 4>& c) {                                    \
    vec<sum, 4> r = c;                                                               \
    ec_emulator::name(r.v, a.v, b.v);                                                \
    return r;                                                                        \
  }
#else
#define EC_MMA(name, instruction, sum, register, convert)                            \
  EC_INLINE vec<sum, 4> name(const vec<int, 4>& a, const vec<int, 2>& b,             \
                             const vec<sum, 4>& c) {                                 \
    vec<sum, 4> r;                                                                   \
    asm volatile("mma.sync.aligned." instruction                                     \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"        \
                 : "=" register(r.v[0]), "=" register(r.v[1]), "=" register(r.v[2]), \
                   "=" register(r.v[3])                                              \
                 : "r"(convert(a.v[0])), "r"(convert(a.v[1])), "r"(convert(a.v[2])), \
                   "r"(convert(a.v[3])), "r"(b.v[0]), "r"(b.v[1]),                   \
                   register(c.v[0]), register(c.v[1]), register(c.v[2]),             \
                   register(c.v[3]));                                                \
    return r;                                                                        \
  }
EC_INLINE int as_it_is(int word) {
  return word;
}
EC_INLINE int to_tf32(int word) {
  int r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(__int_as_float(word)));
  return r;
}
#endif
#if defined(EC_ON_CPU) || !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
EC_MMA(mma_s8, "m16n8k32.row.col.s32.s8.s8.s32", int, "r", as_it_is)
EC_MMA(mma_u8, "m16n8k32.row.col.s32.u8.s8.s32", int, "r", as_it_is)
EC_MMA(mma_s8_u8, "m16n8k32.row.col.s32.s8.u8.s32", int, "r", as_it_is)
EC_MMA(mma_u8_u8, "m16n8k32.row.col.s32.u8.u8.s32", int, "r", as_it_is)
EC_MMA(mma_f16, "m16n8k16.row.col.f32.f16.f16.f32", float, "f", as_it_is)
EC_MMA(mma_bf16, "m16n8k16.row.col.f32.bf16.bf16.f32", float, "f", as_it_is)
EC_MMA(mma_tf32, "m16n8k8.row.col.f32.tf32.tf32.f32", float, "f", to_tf32)
#elif __CUDA_ARCH__ >= 750
// One half of K after the other.
EC_INLINE void mma_f16_half(float* r, int above, int below, int b) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
               "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
               : "+f"(r[0]), "+f"(r[1]), "+f"(r[2]), "+f"(r[3])
               : "r"(above), "r"(below), "r"(b));
}
EC_INLINE vec<float, 4> mma_f16(const vec<int, 4>& a, const vec<int, 2>& b,
                                const vec<float, 4>& c) {
  vec<float, 4> r = c;
  mma_f16_half(r.v, a.v[0], a.v[1], b.v[0]);
  mma_f16_half(r.v, a.v[2], a.v[3], b.v[1]);
  return r;
}
#endif
// Four products of 8 rows by 4 elements of K by the same 8 columns.
EC_INLINE vec<float, 8> mma_f16_quads(const vec<int, 2>& a, const vec<int, 2>& b,
                                      const vec<float, 8>& c) {
  vec<float, 8> r = c;
#ifdef EC_ON_CPU
  ec_emulator::mma_f16_quads(r.v, a.v, b.v);
#else
  asm volatile("mma.sync.aligned.m8n8k4.row.col.f32.f16.f16.f32 "
               "{%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9}, {%10,%11}, {%0,%1,%2,%3,%4,%5,%6,%7};"
               : "+f"(r.v[0]), "+f"(r.v[1]), "+f"(r.v[2]), "+f"(r.v[3]), "+f"(r.v[4]),
                 "+f"(r.v[5]), "+f"(r.v[6]), "+f"(r.v[7])
               : "r"(a.v[0]), "r"(a.v[1]), "r"(b.v[0]), "r"(b.v[1]));
#endif
  return r;
}

// Tensor cores of compute capability 7.2 for 8 bits: 16 rows by 16 elements of K times the same by 16
// columns. Which elements a thread has of wmma's fragments the manual leaves open, so they come from
// memory, and go there: shared memory that a warp has for itself, but for weights, which lie so.
// Fragments of one type are alike, and zeros are zeros anywhere: sums need not move before their end.
EC_INLINE void meet() {
#ifdef EC_ON_CPU
  ec_emulator::barrier();
#else
  __syncwarp();
#endif
}
#ifdef EC_ON_CPU
#define EC_WMMA_LOAD(name, matrix, order, space, type)      \
  inline vec<int, 2> name(const int* p) {                   \
    vec<int, 2> r;                                          \
    ec_emulator::wmma_load_##matrix(r.v, p);                \
    return r;                                               \
  }
#define EC_WMMA(name, types)                                \
  inline vec<int, 8> name(const vec<int, 2>& a, const vec<int, 2>& b, \
                          const vec<int, 8>& c) {           \
    vec<int, 8> r = c;                                      \
    ec_emulator::name(r.v, a.v, b.v);                       \
    return r;                                               \
  }
EC_INLINE void wmma_store(int* p, const vec<int, 8>& sums) {
  ec_emulator::wmma_store(p, sums.v);
}
#else
#define EC_WMMA_LOAD(name, matrix, order, space, type)                                \
  EC_INLINE vec<int, 2> name(const int* p) {                                          \
    vec<int, 2> r;                                                                    \
    asm volatile("wmma.load." #matrix ".sync.aligned." order ".m16n16k16." #space "." \
                 type " {%0,%1}, [%2], 16;"                                           \
                 : "=r"(r.v[0]), "=r"(r.v[1])                                         \
                 : "l"(__cvta_generic_to_##space(p))                                  \
                 : "memory");                                                         \
    return r;                                                                         \
  }
#define EC_WMMA(name, types)                                                          \
  EC_INLINE vec<int, 8> name(const vec<int, 2>& a, const vec<int, 2>& b,              \
                             const vec<int, 8>& c) {                                  \
    vec<int, 8> r = c;                                                                \
    asm volatile("wmma.mma.sync.aligned.row.col.m16n16k16.s32." types ".s32 "         \
                 "{%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9}, {%10,%11}, "               \
                 "{%0,%1,%2,%3,%4,%5,%6,%7};"                                         \
                 : "+r"(r.v[0]), "+r"(r.v[1]), "+r"(r.v[2]), "+r"(r.v[3]),            \
                   "+r"(r.v[4]), "+r"(r.v[5]), "+r"(r.v[6]), "+r"(r.v[7])             \
                 : "r"(a.v[0]), "r"(a.v[1]), "r"(b.v[0]), "r"(b.v[1]));               \
    return r;                                                                         \
  }
EC_INLINE void wmma_store(int* p, const vec<int, 8>& sums) {
  asm volatile("wmma.store.d.sync.aligned.row.m16n16k16.shared.s32 "
               "[%0], {%1,%2,%3,%4,%5,%6,%7,%8}, 16;"
               :
               : "l"(__cvta_generic_to_shared(p)), "r"(sums.v[0]), "r"(sums.v[1]),
                 "r"(sums.v[2]), "r"(sums.v[3]), "r"(sums.v[4]), "r"(sums.v[5]),
                 "r"(sums.v[6]), "r"(sums.v[7])
               : "memory");
}
#endif
EC_WMMA(wmma_s8, "s8.s8")
EC_WMMA(wmma_u8, "u8.u8")
EC_WMMA_LOAD(wmma_weights_s8, b, "col", global, "s8")
EC_WMMA_LOAD(wmma_weights_u8, b, "col", global, "u8")
EC_WMMA_LOAD(wmma_load_rows_s8, a, "row", shared, "s8")
EC_WMMA_LOAD(wmma_load_rows_u8, a, "row", shared, "u8")
EC_WMMA_LOAD(wmma_load_columns_s8, b, "col", shared, "s8")
EC_WMMA_LOAD(wmma_load_columns_u8, b, "col", shared, "u8")
// Words of fragments from all threads of a warp: two of each, side by side in a row of 16 bytes.
EC_INLINE void wmma_place(int* own, int above, int below) {
  const vec<int, 2> both = {{above, below}};
  store_aligned(own + 2 * threadIdx.x, both);
}
// Words of a thread's rows of sums: as of x, K in the order in which a thread has one word of each half.
EC_INLINE void wmma_place_sums(int* own, int above, int below) {
  const int at = threadIdx.x / 4 * 4 + threadIdx.x % 2 * 2 + threadIdx.x / 2 % 2;
  own[at] = above;
  own[at + 32] = below;
}
#define EC_WMMA_STAGED(name, place, load)                            \
  template <int M>                                                   \
  EC_INLINE vec<int, M> name(int* own, const vec<int, M>& words) {   \
    vec<int, M> r;                                                   \
    meet();                                                          \
    _Pragma("unroll") for (int i = 0; i < M; i += 2) {               \
      place(own + 32 * i, words.v[i], words.v[i + 1]);               \
    }                                                                \
    meet();                                                          \
    _Pragma("unroll") for (int i = 0; i < M; i += 2) {               \
      const vec<int, 2> both = load(own + 32 * i);                   \
      r.v[i] = both.v[0];                                            \
      r.v[i + 1] = both.v[1];                                        \
    }                                                                \
    return r;                                                        \
  }
EC_WMMA_STAGED(wmma_rows_s8, wmma_place, wmma_load_rows_s8)
EC_WMMA_STAGED(wmma_rows_u8, wmma_place, wmma_load_rows_u8)
EC_WMMA_STAGED(wmma_columns_s8, wmma_place, wmma_load_columns_s8)
EC_WMMA_STAGED(wmma_columns_u8, wmma_place, wmma_load_columns_u8)
EC_WMMA_STAGED(wmma_exchange_s8, wmma_place_sums, wmma_load_rows_s8)
EC_WMMA_STAGED(wmma_exchange_u8, wmma_place_sums, wmma_load_rows_u8)
// A thread's sums: four columns of two rows that are eight apart, in pairs of both rows.
EC_INLINE vec<int, 8> wmma_sums(int* own, const vec<int, 8>& sums) {
  meet();
  wmma_store(own, sums);
  meet();
  const vec<int, 4> above = load_aligned<4>(own + 4 * threadIdx.x);
  const vec<int, 4> below = load_aligned<4>(own + 128 + 4 * threadIdx.x);
  return {{above.v[0], above.v[1], below.v[0], below.v[1], above.v[2], above.v[3], below.v[2],
           below.v[3]}};
}

// Two floats as elements of 16 bits of a word, to nearest even.
EC_INLINE int word_f16(float a, float b) {
#ifdef EC_ON_CPU
  return static_cast<int>(raw(static_cast<half>(a)) | raw(static_cast<half>(b)) << 16);
#else
  return bits<int>(__floats2half2_rn(a, b));
#endif
}
#ifdef EC_ON_CPU
EC_INLINE int word_bf16(float a, float b) {
  return ec_emulator::bfloat16_of(a) | ec_emulator::bfloat16_of(b) << 16;
}
#elif !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
EC_INLINE int word_bf16(float a, float b) {
  int r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(b), "f"(a));
  return r;
}
#endif
// A float32 that is given as the second operand of mma_tf32, which the first one becomes there.
EC_INLINE int rounded_tf32(int word) {
#ifdef EC_ON_CPU
  return static_cast<int>((static_cast<unsigned>(word) + 0x1000u) & ~0x1fffu);
#else
  return to_tf32(word);
#endif
}

// Of four neighbouring threads.
template <class T>
EC_INLINE T of_thread(T x, int distance) {
#ifdef EC_ON_CPU
  return ec_emulator::of_thread(x, distance);
#else
  return __shfl_xor_sync(0xffffffffu, x, distance);
#endif
}
EC_INLINE float quad_max(float x) {
  x = max(x, of_thread(x, 1));
  return max(x, of_thread(x, 2));
}
EC_INLINE float quad_sum(float x) {
  x = x + of_thread(x, 1);
  return x + of_thread(x, 2);
}
// Of two threads, as mma_f16_quads has rows of sums.
EC_INLINE float twin_max(float x) {
  return max(x, of_thread(x, 2));
}
EC_INLINE float twin_sum(float x) {
  return x + of_thread(x, 2);
}
// Each of both gets all of one row: it gives its word of the other one.
EC_INLINE vec<int, 2> quads_of_sums(int above, int below) {
  const bool is_second = threadIdx.x / 2 % 2 != 0;
  const int other = of_thread(is_second ? above : below, 2);
  return {{is_second ? other : above, is_second ? below : other}};
}

}  // namespace ec
