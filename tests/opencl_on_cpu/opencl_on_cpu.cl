/* OpenCL C on a CPU: the functions that kernels call, for clang's OpenCL mode with cl_khr_fp16.
 *
 * What a device of this machine (PoCL) has not, arithmetic in half, is computed by the processor's
 * float16 or by float and a conversion, both of which round each operation once. A group's work items run
 * in turns, from barrier to barrier.
 */
#pragma OPENCL EXTENSION cl_khr_fp16 : enable

#define EC_OVERLOAD __attribute__((overloadable, always_inline))

/* Of the work item that runs: tests/helpers/opencl_on_cpu.py. */
size_t ec_place(uint what, uint axis);
EC_OVERLOAD size_t get_group_id(uint axis) { return ec_place(0, axis); }
EC_OVERLOAD size_t get_local_id(uint axis) { return ec_place(1, axis); }

#define CLK_LOCAL_MEM_FENCE 1
void ec_barrier(void);
EC_OVERLOAD void barrier(uint fence) { ec_barrier(); }

#define EC_CONVERT(from, to) \
  EC_OVERLOAD to convert_##to(from x) { return (to)(x); } \
  EC_OVERLOAD to##4 convert_##to##4(from##4 x) { return __builtin_convertvector(x, to##4); }
EC_CONVERT(half, float)
EC_CONVERT(float, float)
EC_CONVERT(uint, int)
EC_CONVERT(ulong, int)

#define EC_MEMORY(type, space)                                      \
  EC_OVERLOAD type##4 vload4(size_t at, const space type *p) {      \
    p += 4 * at;                                                    \
    return (type##4)(p[0], p[1], p[2], p[3]);                       \
  }                                                                 \
  EC_OVERLOAD void vstore4(type##4 x, size_t at, space type *p) {   \
    p += 4 * at;                                                    \
    p[0] = x.s0, p[1] = x.s1, p[2] = x.s2, p[3] = x.s3;             \
  }
#define EC_VECTORS(type)                                                               \
  EC_MEMORY(type, __global)                                                            \
  EC_MEMORY(type, __local)                                                             \
  EC_OVERLOAD type min(type a, type b) { return a < b ? a : b; }                      \
  EC_OVERLOAD type max(type a, type b) { return a > b ? a : b; }                      \
  EC_OVERLOAD type##4 min(type##4 a, type##4 b) {                                     \
    return (type##4)(min(a.s0, b.s0), min(a.s1, b.s1), min(a.s2, b.s2), min(a.s3, b.s3)); \
  }                                                                                    \
  EC_OVERLOAD type##4 max(type##4 a, type##4 b) {                                     \
    return (type##4)(max(a.s0, b.s0), max(a.s1, b.s1), max(a.s2, b.s2), max(a.s3, b.s3)); \
  }                                                                                    \
  EC_OVERLOAD type mad(type a, type b, type c) { return a * b + c; }                   \
  EC_OVERLOAD type##4 mad(type##4 a, type##4 b, type##4 c) { return a * b + c; }
EC_VECTORS(half)
EC_VECTORS(float)

EC_OVERLOAD int min(int a, int b) { return a < b ? a : b; }
EC_OVERLOAD int max(int a, int b) { return a > b ? a : b; }

EC_OVERLOAD float vload_half(size_t at, const __global half *p) { return p[at]; }
EC_OVERLOAD float4 vload_half4(size_t at, const __global half *p) {
  return convert_float4(vload4(at, p));
}
EC_OVERLOAD void vstore_half_rte(float x, size_t at, __global half *p) { p[at] = (half)x; }
EC_OVERLOAD void vstore_half4_rte(float4 x, size_t at, __global half *p) {
  vstore4(__builtin_convertvector(x, half4), at, p);
}

/* Images of floats: run.c. */
#define CLK_NORMALIZED_COORDS_FALSE 0
#define CLK_ADDRESS_CLAMP 4
#define CLK_FILTER_NEAREST 0x10
float4 ec_texel(__read_only image2d_t image, int x, int y);
EC_OVERLOAD float4 read_imagef(__read_only image2d_t image, sampler_t sampler, int2 at) {
  return ec_texel(image, at.x, at.y);
}
EC_OVERLOAD half4 read_imageh(__read_only image2d_t image, sampler_t sampler, int2 at) {
  return __builtin_convertvector(ec_texel(image, at.x, at.y), half4);
}
