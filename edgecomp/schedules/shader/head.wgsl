// What kernels are written with. Integers of 8 and 16 bits lie in words of four and two, those of
// 64 bits are two words, the lower one first.

// A float by its bits: one that is not finite has no literal.
fn ec_float(bits: u32) -> f32 { return bitcast<f32>(bits); }

fn ec_unpack8(word: u32) -> vec4<u32> {
  return (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u);
}
fn ec_pack8(v: vec4<u32>) -> u32 {
  let w = (v & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
  return w.x | w.y | w.z | w.w;
}
fn ec_unpack16(low: u32, high: u32) -> vec4<u32> {
  return vec4<u32>(low & 65535u, low >> 16u, high & 65535u, high >> 16u);
}
fn ec_pack16(v: vec4<u32>) -> vec2<u32> {
  return (v.xz & vec2<u32>(65535u)) | (v.yw << vec2<u32>(16u));
}

// The nearest float of 16 bits, halves to even, as a float of 32: WGSL's own conversion may take
// either neighbour. Below 2^-14 the bits of a sum with 0.5 count steps of 2^-24.
fn ec_half4(x: vec4<f32>) -> vec4<f32> {
  let sign = bitcast<vec4<u32>>(x) & vec4<u32>(0x80000000u);
  let size = bitcast<vec4<u32>>(x) ^ sign;
  let even = (size >> vec4<u32>(13u)) & vec4<u32>(1u);
  let normal = (size + vec4<u32>(0xfffu) + even) & vec4<u32>(0xffffe000u);
  let steps = bitcast<vec4<u32>>(bitcast<vec4<f32>>(size) + vec4<f32>(0.5f)) - vec4<u32>(0x3f000000u);
  let small = bitcast<vec4<u32>>(vec4<f32>(steps) * vec4<f32>(5.9604644775390625e-8f));
  let finite = select(normal, small, size < vec4<u32>(0x38800000u));
  let large = select(finite, vec4<u32>(0x7f800000u), finite > vec4<u32>(0x477fe000u));
  let any = select(large, vec4<u32>(0x7fc00000u), size > vec4<u32>(0x7f800000u));
  return bitcast<vec4<f32>>(any | sign);
}

// Division that rounds down.
fn ec_floordiv(a: i32, b: i32) -> i32 {
  let q = a / b;
  return select(q, q - 1, a % b != 0 && (a < 0) != (b < 0));
}
fn ec_floormod(a: i32, b: i32) -> i32 { return a - ec_floordiv(a, b) * b; }

fn ec_wide(x: i32) -> vec2<u32> { return vec2<u32>(bitcast<u32>(x), bitcast<u32>(x >> 31u)); }
fn ec_wide_add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let low = a.x + b.x;
  return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}
fn ec_wide_sub(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}
fn ec_wide_mul(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let a0 = a.x & 65535u;
  let a1 = a.x >> 16u;
  let b0 = b.x & 65535u;
  let b1 = b.x >> 16u;
  let low = a0 * b0;
  let middle = a1 * b0 + (low >> 16u);
  let upper = a0 * b1 + (middle & 65535u);
  let high = a1 * b1 + (middle >> 16u) + (upper >> 16u);
  return vec2<u32>((upper << 16u) | (low & 65535u), high + a.x * b.y + a.y * b.x);
}
fn ec_wide_less(a: vec2<u32>, b: vec2<u32>) -> bool {
  let high_a = bitcast<i32>(a.y);
  let high_b = bitcast<i32>(b.y);
  return high_a < high_b || (high_a == high_b && a.x < b.x);
}
fn ec_wide_min(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return select(a, b, ec_wide_less(b, a)); }
fn ec_wide_max(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> { return select(a, b, ec_wide_less(a, b)); }
