#include "core/xxh64.h"

#include <stdint.h>
#include <string.h>

#define PRIME_1 0x9E3779B185EBCA87u
#define PRIME_2 0xC2B2AE3D27D4EB4Fu
#define PRIME_3 0x165667B19E3779F9u
#define PRIME_4 0x85EBCA77C2B2AE63u
#define PRIME_5 0x27D4EB2F165667C5u

#define STRIPE_BYTES 32 /* four lanes of eight bytes */

static uint64_t rotate_left(uint64_t value, int bits) {
  return (value << bits) | (value >> (64 - bits));
}

/* The digest is defined on little-endian words; memcpy becomes one load where the processor
 * allows unaligned ones. */
static uint64_t read_64(const uint8_t *at) {
  uint64_t value = 0;
  memcpy(&value, at, sizeof value);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap64(value);
#endif
  return value;
}

static uint32_t read_32(const uint8_t *at) {
  uint32_t value = 0;
  memcpy(&value, at, sizeof value);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
  value = __builtin_bswap32(value);
#endif
  return value;
}

static uint64_t round_lane(uint64_t lane, uint64_t word) {
  return rotate_left(lane + word * PRIME_2, 31) * PRIME_1;
}

static uint64_t merge_lane(uint64_t hash, uint64_t lane) {
  return (hash ^ round_lane(0, lane)) * PRIME_1 + PRIME_4;
}

/* Digest of the whole stripes; *inout_at moves behind them. */
static uint64_t hash_stripes(const uint8_t **inout_at, uint64_t stripes) {
  const uint8_t *at = *inout_at;
  uint64_t lane_1 = PRIME_1 + PRIME_2;
  uint64_t lane_2 = PRIME_2;
  uint64_t lane_3 = 0;
  uint64_t lane_4 = 0 - PRIME_1;
  for (uint64_t i = 0; i < stripes; ++i, at += STRIPE_BYTES) {
    lane_1 = round_lane(lane_1, read_64(at));
    lane_2 = round_lane(lane_2, read_64(at + 8));
    lane_3 = round_lane(lane_3, read_64(at + 16));
    lane_4 = round_lane(lane_4, read_64(at + 24));
  }
  *inout_at = at;
  uint64_t hash = rotate_left(lane_1, 1) + rotate_left(lane_2, 7) + rotate_left(lane_3, 12) +
                  rotate_left(lane_4, 18);
  hash = merge_lane(hash, lane_1);
  hash = merge_lane(hash, lane_2);
  hash = merge_lane(hash, lane_3);
  return merge_lane(hash, lane_4);
}

static uint64_t hash_tail(uint64_t hash, const uint8_t *at, uint64_t bytes) {
  for (; bytes >= 8; bytes -= 8, at += 8) {
    hash = rotate_left(hash ^ round_lane(0, read_64(at)), 27) * PRIME_1 + PRIME_4;
  }
  if (bytes >= 4) {
    hash = rotate_left(hash ^ (read_32(at) * PRIME_1), 23) * PRIME_2 + PRIME_3;
    bytes -= 4;
    at += 4;
  }
  for (; bytes > 0; --bytes, ++at) {
    hash = rotate_left(hash ^ (*at * PRIME_5), 11) * PRIME_1;
  }
  return hash;
}

static uint64_t avalanche(uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * PRIME_2;
  hash = (hash ^ (hash >> 29)) * PRIME_3;
  return hash ^ (hash >> 32);
}

uint64_t ec_xxh64(const void *data, uint64_t bytes) {
  const uint8_t *at = data;
  uint64_t stripes = bytes / STRIPE_BYTES;
  uint64_t hash = stripes != 0 ? hash_stripes(&at, stripes) : PRIME_5;
  return avalanche(hash_tail(hash + bytes, at, bytes % STRIPE_BYTES));
}
